//! Any endpoint, form fields, key and service account that a caller writes into options: what is accepted makes one HTTP
//! request with the headers that it is meant to have and no others.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oauth2_token::{
    Authentication, Client, ClientKey, Endpoint, Grant, Parameters, ServiceAccount, TokenRequest,
};
use smtp_core::secret::Secret;

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (endpoint, parameters, id, secret) = input;
    let _ = ClientKey::parse(secret, Some(id));
    let _ = ServiceAccount::parse(secret);
    let (Ok(endpoint), Ok(parameters)) = (Endpoint::parse(endpoint), Parameters::parse(parameters))
    else {
        return;
    };
    let start = endpoint.as_str().get(..8).expect("it has a scheme");
    assert!(start.eq_ignore_ascii_case("https://"), "{start:?}");
    for authentication in [
        Authentication::Post(Secret::new(secret)),
        Authentication::Basic(Secret::new(secret)),
    ] {
        let request = TokenRequest {
            endpoint: endpoint.clone(),
            grant: Grant::ClientCredentials(Client {
                id: id.to_owned(),
                authentication,
            }),
            scope: Some(id.to_owned()),
            parameters: parameters.clone(),
        };
        let Ok(request) = request.encode(0) else {
            continue;
        };
        let octets = request.bytes();
        let end = octets.windows(4).position(|octets| octets == b"\r\n\r\n").expect("a head");
        let head = std::str::from_utf8(&octets[..end]).expect("the head is ASCII");
        let body = &octets[end + 4..];
        assert!(head.starts_with("POST /"), "{head:?}");
        let field = |name: &str| head.matches(&format!("\r\n{name}: ")).count();
        assert_eq!((field("Host"), field("Content-Length")), (1, 1), "{head:?}");
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head:?}");
        assert!(head.lines().skip(1).all(|line| line.contains(": ")), "{head:?}");
        assert!(body.iter().all(u8::is_ascii_graphic), "a form is one line");
    }
});
