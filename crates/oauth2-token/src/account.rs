//! Google's service account: the JSON file that its console creates for a key.

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::endpoint::{Endpoint, EndpointError};
use crate::key::{KeyError, SigningKey};

/// An account that signs assertions for the grant `jwt-bearer` (RFC 7523 §2.1).
#[derive(Debug, Clone)]
pub struct ServiceAccount {
    /// `client_email`: the issuer of the assertions.
    pub issuer: String,
    /// `private_key_id`: the header `kid`.
    pub key_id: Option<String>,
    /// `private_key`.
    pub key: SigningKey,
    /// `token_uri`: where Google wants the request, unless another endpoint is given.
    pub endpoint: Option<Endpoint>,
}

/// Why a text is no service account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountError {
    /// Not a JSON object, or a field is of the wrong type.
    #[error("it is not the JSON key of a service account")]
    NotJson,
    /// `type` is another one, such as `authorized_user`.
    #[error("its \"type\" is not \"service_account\"")]
    Type,
    /// A field that is needed.
    #[error("it has no \"{0}\"")]
    Missing(&'static str),
    /// `private_key`.
    #[error("its \"private_key\" can't be used: {0}")]
    Key(#[from] KeyError),
    /// `token_uri`.
    #[error("its \"token_uri\" can't be used: {0}")]
    Endpoint(#[from] EndpointError),
}

#[derive(Deserialize)]
struct Fields {
    r#type: Option<String>,
    client_email: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<String>,
    token_uri: Option<String>,
}

impl ServiceAccount {
    /// Takes the content of the JSON file.
    ///
    /// # Errors
    /// [`ServiceAccountError`] says what is missing or wrong.
    pub fn parse(json: &str) -> Result<Self, ServiceAccountError> {
        let fields: Fields =
            serde_json::from_str(json).map_err(|_| ServiceAccountError::NotJson)?;
        if fields.r#type.is_some_and(|kind| kind != "service_account") {
            return Err(ServiceAccountError::Type);
        }
        let issuer = fields.client_email.filter(|email| !email.is_empty());
        let key = fields
            .private_key
            .map(Zeroizing::new)
            .ok_or(ServiceAccountError::Missing("private_key"))?;
        Ok(Self {
            issuer: issuer.ok_or(ServiceAccountError::Missing("client_email"))?,
            key_id: fields.private_key_id,
            key: SigningKey::parse(&key)?,
            endpoint: fields
                .token_uri
                .as_deref()
                .map(Endpoint::parse)
                .transpose()?,
        })
    }
}
