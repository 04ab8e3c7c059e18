//! One HTTPS request, and the answers of endpoints that are slow, endless, cut short or somebody
//! else.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use oauth2_token::{
    AnswerError, Authentication, Client as OauthClient, Endpoint, Grant, HttpRequest, LIMIT,
    Malformed, Parameters, Token, TokenRequest,
};
use pem_wallet::Rejection;
use rustls::{ServerConnection, StreamOwned};
use smtp_client::error::NetError;
use smtp_client::error::Step;
use smtp_client::https::{PostError, Received, post};
use smtp_client::wait::{Deadline, Interest, Interrupted, PollWait, Wait};
use smtp_core::secret::Secret;

use crate::support::{
    BOUND, Client, Credentials, Issuer, NAME, ServerSetup, leaf_params, listen, root, wallet,
};

type Tls = StreamOwned<ServerConnection, TcpStream>;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"access_token\":\"abcdefg\"}";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\n{\"access_token\":\"abcdefg\"}";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An endpoint that reads the whole request, then goes on as the script says.
struct ScriptedEndpoint {
    root: Issuer,
    address: SocketAddr,
    requests: mpsc::Receiver<Vec<u8>>,
}

fn endpoint(script: impl Fn(&mut Tls) -> io::Result<()> + Send + 'static) -> ScriptedEndpoint {
    let root = root("root");
    let config = ServerSetup::default().config(&Credentials::issued(leaf_params(&[NAME]), &root));
    let config = Arc::new(config);
    let (report, requests) = mpsc::channel();
    let address = listen(move |socket| {
        socket.set_read_timeout(Some(BOUND)).unwrap();
        let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut tls = StreamOwned::new(connection, socket);
        // A client may go at any point.
        if let Ok(request) = read_request(&mut tls) {
            let _ = report.send(request);
            let _ = script(&mut tls);
        }
    });
    ScriptedEndpoint {
        root,
        address,
        requests,
    }
}

fn read_request(tls: &mut Tls) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"scope=s") {
        tls.read_exact(&mut octet)?;
        request.push(octet[0]);
    }
    Ok(request)
}

fn say(tls: &mut Tls, text: &str) -> io::Result<()> {
    tls.write_all(text.as_bytes())?;
    tls.flush()
}

fn close_notify(tls: &mut Tls) -> io::Result<()> {
    tls.conn.send_close_notify();
    tls.flush()
}

/// Waits until the client has gone.
fn hold(tls: &mut Tls) -> io::Result<()> {
    tls.read(&mut [0]).map(drop)
}

fn request() -> HttpRequest {
    let request = TokenRequest {
        endpoint: Endpoint::parse(&format!("https://{NAME}/token")).unwrap(),
        grant: Grant::ClientCredentials(OauthClient {
            id: "client".into(),
            authentication: Authentication::Post(Secret::new("hunter22")),
        }),
        scope: Some("s".into()),
        parameters: Parameters::default(),
    };
    request.encode(0).unwrap()
}

impl ScriptedEndpoint {
    fn client(&self) -> Client {
        Client::new(wallet(&[self.root.pem()]), NAME)
    }

    fn fetch(&self) -> Result<Token, PostError<AnswerError>> {
        fetch(self.address, &mut self.client(), &PollWait, Some(BOUND))
    }

    #[track_caller]
    fn malformed(&self) -> Malformed {
        match self.fetch() {
            Err(PostError::Answer(AnswerError::Malformed(malformed))) => malformed,
            other => panic!("{other:?}"),
        }
    }
}

fn fetch(
    address: SocketAddr,
    client: &mut Client,
    wait: &dyn Wait,
    limit: Option<Duration>,
) -> Result<Token, PostError<AnswerError>> {
    let request = request();
    let mut parser = request.answer();
    let mut receive = |received: Received<'_>| match received {
        Received::Octets(octets) => parser.feed(octets),
        Received::End { clean } => parser.end(clean).map(|()| true),
    };
    post(
        &[address],
        (&client.options, &client.cache),
        request.bytes(),
        &mut receive,
        wait,
        Deadline::after(limit),
    )?;
    parser.into_token().map_err(PostError::Answer)
}

#[track_caller]
fn net<T: std::fmt::Debug>(outcome: Result<T, PostError<AnswerError>>) -> NetError {
    match outcome {
        Err(PostError::Net(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_whole_request_arrives_and_its_answer_ends_it() {
    // The connection stays open: what is complete is not waited for.
    let endpoint = endpoint(|tls| {
        say(tls, ANSWER)?;
        hold(tls)
    });
    let token = endpoint.fetch().unwrap();
    assert_eq!(token.access_token.expose(), b"abcdefg");
    let received = endpoint.requests.recv_timeout(BOUND).unwrap();
    assert_eq!(received, request().bytes());
}

#[test]
fn a_body_of_unknown_length_ends_by_a_close_notify_only() {
    let polite = endpoint(|tls| {
        say(tls, UNTIL_CLOSE)?;
        close_notify(tls)
    });
    polite.fetch().unwrap();
    let cut = endpoint(|tls| say(tls, UNTIL_CLOSE));
    assert_eq!(cut.malformed(), Malformed::Truncated);
}

#[test]
fn a_wrong_length_is_a_cut_answer() {
    let endpoint = endpoint(|tls| {
        say(tls, &ANSWER.replace("26", "27"))?;
        close_notify(tls)
    });
    assert_eq!(endpoint.malformed(), Malformed::Truncated);
}

#[test]
fn a_chunk_of_2_to_the_64th_octets_is_refused() {
    let endpoint = endpoint(|tls| {
        say(tls, &format!("{CHUNKED}10000000000000000\r\n"))?;
        hold(tls)
    });
    assert_eq!(endpoint.malformed(), Malformed::Chunk);
}

#[test]
fn an_endless_header_or_body_is_refused() {
    for beginning in ["HTTP/1.1 200 OK\r\nA: ", "HTTP/1.1 200 OK\r\n\r\n"] {
        let endpoint = endpoint(move |tls| {
            say(tls, beginning)?;
            loop {
                say(tls, &"x".repeat(LIMIT))?;
            }
        });
        assert_eq!(endpoint.malformed(), Malformed::TooLarge);
    }
}

/// The peer's side ends minutes later, so only the deadline can end ours.
#[test]
fn silence_and_single_octets_end_at_the_deadline() {
    let limit = Duration::from_millis(500);
    let silent = endpoint(hold);
    let slow = endpoint(|tls| {
        say(tls, "HTTP/1.1 200 OK\r\nA: ")?;
        loop {
            say(tls, "x")?;
            thread::sleep(Duration::from_millis(20));
        }
    });
    for endpoint in [silent, slow] {
        // What is too busy to get to the point in half a second gets longer.
        let reached = [1, 10, 100].into_iter().any(|factor| {
            let limit = limit * factor;
            let begun = Instant::now();
            let mut client = endpoint.client();
            let error = net(fetch(endpoint.address, &mut client, &PollWait, Some(limit)));
            assert!(matches!(error, NetError::Timeout(_)), "{error:?}");
            assert!(begun.elapsed() >= limit);
            matches!(error, NetError::Timeout(Step::Reading))
        });
        assert!(reached);
    }
}

/// Counts waits, and asks to stop at one of them.
struct StopAt(std::cell::Cell<u32>);

impl Wait for StopAt {
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        deadline: Deadline,
    ) -> Result<bool, Interrupted> {
        self.check()?;
        PollWait.wait(fd, interest, deadline)
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.0.set(self.0.get().saturating_sub(1));
        match self.0.get() {
            0 => Err(Interrupted),
            _ => Ok(()),
        }
    }
}

#[test]
fn an_interrupt_ends_it_at_every_step() {
    let endpoint = endpoint(|tls| {
        say(tls, "HTTP/1.1 200 OK\r\n")?;
        say(tls, "\r\n{\"access_token\":\"abcdefg\"}")?;
        close_notify(tls)
    });
    let mut interrupted = 0;
    for step in 1.. {
        let wait = StopAt(step.into());
        match fetch(endpoint.address, &mut endpoint.client(), &wait, None) {
            Err(PostError::Net(NetError::Interrupted(_))) => interrupted += 1,
            Ok(_) => break,
            other => panic!("step {step}: {other:?}"),
        }
    }
    // Connecting, the handshake, writing and reading each look at least once.
    assert!(interrupted >= 4, "{interrupted}");
}

#[test]
fn an_endpoint_without_tls_or_with_another_certificate_gets_no_request() {
    let plain = listen(|mut socket| {
        let _ = socket.write_all(ANSWER.as_bytes());
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let trusted = endpoint(|tls| say(tls, ANSWER));
    let error = net(fetch(plain, &mut trusted.client(), &PollWait, Some(BOUND)));
    assert!(matches!(error, NetError::Tls(_)), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");

    let mut stranger = Client::new(wallet(&[root("another root").pem()]), NAME);
    let error = net(fetch(
        trusted.address,
        &mut stranger,
        &PollWait,
        Some(BOUND),
    ));
    assert!(matches!(error, NetError::Certificate(_)), "{error:?}");

    let mut other_name = Client::new(wallet(&[trusted.root.pem()]), "other.example.test");
    let error = net(fetch(
        trusted.address,
        &mut other_name,
        &PollWait,
        Some(BOUND),
    ));
    assert!(
        matches!(error, NetError::Certificate(Rejection::Name { .. })),
        "{error:?}"
    );

    trusted.fetch().unwrap();
    assert!(trusted.requests.recv_timeout(BOUND).is_ok());
    assert!(trusted.requests.try_recv().is_err());
}
