//! What Python's `email` makes of a message, an independent reader.

use std::io::Write;
use std::process::{Command, Stdio};

/// A line for each header field of interest, and for each part one with its place among the others,
/// its type, disposition, file name and content: a text as a literal of Python's, octets as their
/// number and digest where they are many.
const PROGRAM: &str = r#"
import sys, email, email.policy, hashlib
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
for name in ('From', 'To', 'Cc', 'Bcc', 'Subject', 'X-Priority', 'Reply-To', 'X-Report', 'Auto-Submitted'):
    print(name + ':', message.get(name))
def show(part, above):
    place = above + '/' + part.get_content_subtype()
    if part.is_multipart():
        for child in part.iter_parts():
            show(child, place)
        return
    content = part.get_content()
    if len(content) > 100000:
        octets = content.encode() if isinstance(content, str) else content
        content = (len(octets), hashlib.md5(octets).hexdigest())
    if above:
        print('at', above, part.get_content_type(), part.get('Content-ID'), part.get_params([])[1:])
    print(part.get_content_type(), part.get_content_disposition(), part.get_filename(), repr(content))
show(message, '')
assert not message.defects, message.defects
"#;

pub fn read(message: &[u8]) -> String {
    python(PROGRAM, message)
}

/// The output of a program in Python that reads this.
pub fn python(program: &str, input: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
