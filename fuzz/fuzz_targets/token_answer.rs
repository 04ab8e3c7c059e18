//! Any answer of a token endpoint, in any pieces: the same result, tokens that fit on one line, and texts that are safe
//! to show, without the request's secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oauth2_token::{
    AnswerError, Authentication, Client, Endpoint, Grant, HttpRequest, Parameters, Token,
    TokenRequest,
};
use smtp_core::secret::Secret;

const SECRET: &str = "tiger-77";

fuzz_target!(|input: &[u8]| {
    // Whether the connection ends cleanly, then the answer.
    let Some((&first, answer)) = input.split_first() else {
        return;
    };
    let clean = first & 1 == 1;
    let request = request();
    let whole = read(&request, answer, usize::MAX, clean);
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(read(&request, answer, piece, clean), whole);
    }
    match whole {
        Ok(token) => {
            let secrets = [Some(token.access_token), token.refresh_token];
            for secret in secrets.iter().flatten() {
                assert!(!secret.is_empty());
                assert!(secret.expose().iter().all(u8::is_ascii_graphic));
            }
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains(char::is_control), "{shown:?}");
            assert!(!shown.contains(SECRET), "{shown}");
            assert!(shown.chars().count() < 800, "{shown}");
        }
    }
});

fn request() -> HttpRequest {
    let request = TokenRequest {
        endpoint: Endpoint::parse("https://login.example.com/token").expect("it is a URL"),
        grant: Grant::ClientCredentials(Client {
            id: "client".to_owned(),
            authentication: Authentication::Post(Secret::new(SECRET)),
        }),
        scope: None,
        parameters: Parameters::default(),
    };
    request.encode(0).expect("there is nothing to sign")
}

fn read(
    request: &HttpRequest,
    answer: &[u8],
    piece: usize,
    clean: bool,
) -> Result<Token, AnswerError> {
    let mut parser = request.answer();
    for piece in answer.chunks(piece) {
        if parser.feed(piece)? {
            return parser.into_token();
        }
    }
    parser.end(clean)?;
    parser.into_token()
}
