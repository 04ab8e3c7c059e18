#![doc = include_str!("../README.md")]

mod account;
mod answer;
mod assertion;
mod buffer;
mod endpoint;
mod form;
mod key;
mod request;
mod token;

pub use account::{ServiceAccount, ServiceAccountError};
pub use answer::{AnswerError, AnswerParser, LIMIT, Malformed, Reason, Refusal};
pub use endpoint::{Endpoint, EndpointError};
pub use form::{Parameters, ParametersError};
pub use key::{ClientKey, KeyError, SigningKey};
pub use request::{Authentication, Client, Grant, HttpRequest, SigningFailed, TokenRequest};
pub use token::{Token, usable_for};
