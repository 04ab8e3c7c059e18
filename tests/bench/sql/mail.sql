-- Whole messages: utl_mail, and its peers as their documentation suggests. What is measured is to compose, to connect and to
-- send.

CREATE FUNCTION bench.ours_attachment(port integer, mails bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpgsql AS $body$
DECLARE
    content bytea := convert_to(repeat(bench.line(), lines), 'UTF8');
    clock bench.clock;
    id bigint;
BEGIN
    PERFORM set_config('utl_mail.smtp_out_server', '127.0.0.1:' || port, false);
    wall := 0;
    cpu := 0;
    FOR i IN 1 .. mails LOOP
        clock := bench.now();
        id := utl_mail.send_message('alice@example.test', 'bob@example.test', 'a file', 'See the file.',
            attachments => ARRAY[ROW('file.bin', 'application/octet-stream', content, NULL)::utl_mail.attachment]);
        clock := bench.since(clock);
        wall := wall + clock.wall;
        cpu := cpu + clock.cpu;
    END LOOP;
END
$body$;

CREATE FUNCTION bench.python_attachment(port integer, mails bigint, content bytea, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpython3u AS $body$
import smtplib, time
from email.message import EmailMessage
wall = cpu = 0.0
for _ in range(mails):
    wall -= time.perf_counter()
    cpu -= time.process_time()
    message = EmailMessage()
    message["From"] = "alice@example.test"
    message["To"] = "bob@example.test"
    message["Subject"] = "a file"
    message.set_content("See the file.")
    message.add_attachment(content, maintype="application", subtype="octet-stream", filename="file.bin")
    server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=60)
    server.send_message(message)
    server.quit()
    wall += time.perf_counter()
    cpu += time.process_time()
return (wall, cpu)
$body$;

-- Without the classes of email.message: the message by hand, as bytes.
CREATE FUNCTION bench.python_attachment_by_hand(port integer, mails bigint, content bytea, OUT wall double precision,
    OUT cpu double precision)
LANGUAGE plpython3u AS $body$
import base64, smtplib, time
wall = cpu = 0.0
for _ in range(mails):
    wall -= time.perf_counter()
    cpu -= time.process_time()
    head = ("From: alice@example.test\r\nTo: bob@example.test\r\nSubject: a file\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/mixed; boundary=sep\r\n\r\n--sep\r\n\r\nSee the file.\r\n--sep\r\n"
            "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
            "Content-Disposition: attachment; filename=file.bin\r\n\r\n")
    message = head.encode() + base64.encodebytes(content).replace(b"\n", b"\r\n") + b"--sep--\r\n"
    server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=60)
    server.sendmail("alice@example.test", ["bob@example.test"], message)
    server.quit()
    wall += time.perf_counter()
    cpu += time.process_time()
return (wall, cpu)
$body$;

CREATE FUNCTION bench.perl_attachment(port integer, mails bigint, lines integer, OUT wall double precision, OUT cpu double precision)
LANGUAGE plperlu AS $body$
use MIME::Base64;
use Net::SMTP;
use POSIX qw(:signal_h);
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGALRM));
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);
my ($port, $mails, $lines) = @_;
my ($wall, $cpu) = (0, 0);
my $content = ("x" x 76 . "\r\n") x $lines;
for (1 .. $mails) {
    $wall -= clock_gettime(CLOCK_MONOTONIC);
    $cpu -= clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    my $head = join "\r\n", "From: alice\@example.test", "To: bob\@example.test", "Subject: a file", "MIME-Version: 1.0",
        "Content-Type: multipart/mixed; boundary=sep", "", "--sep", "", "See the file.", "--sep",
        "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment; filename=file.bin", "", "";
    my $server = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example.test", Timeout => 60)
        or die "cannot connect";
    $server->mail("alice\@example.test") && $server->to("bob\@example.test")
        && $server->data($head, encode_base64($content, "\r\n"), "--sep--\r\n") or die $server->message;
    $server->quit;
    $wall += clock_gettime(CLOCK_MONOTONIC);
    $cpu += clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
}
return { wall => $wall, cpu => $cpu };
$body$;

-- A text mail of 1 KiB: with the header that is made for it, nine lines.
CREATE FUNCTION bench.ours_text(port integer, mails bigint, server text) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    message text := repeat(bench.line(), 9);
    id bigint;
BEGIN
    PERFORM set_config('utl_mail.smtp_out_server', coalesce(server, '127.0.0.1:' || port), false);
    FOR i IN 1 .. mails LOOP
        id := utl_mail.send_message('Alice <alice@example.test>', 'Bob <bob@example.test>', 'how fast is it', message);
    END LOOP;
END
$body$;

-- The peak of memory during one call beyond what was in use when it began, which is the argument.
CREATE FUNCTION bench.ours_attachment_growth(port integer, lines integer) RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
    files utl_mail.attachment[] := ARRAY[ROW('file.bin', NULL, convert_to(repeat(bench.line(), lines), 'UTF8'), NULL)];
    before record;
    after record;
    id bigint;
BEGIN
    PERFORM set_config('utl_mail.smtp_out_server', '127.0.0.1:' || port, false);
    before := bench.memory(true);
    id := utl_mail.send_message('alice@example.test', 'bob@example.test', 'a file', attachments => files);
    after := bench.memory(false);
    RETURN after.peak - before.resident;
END
$body$;

CREATE FUNCTION bench.python_attachment_growth(port integer, content bytea) RETURNS bigint LANGUAGE plpython3u AS $body$
import smtplib
from email.message import EmailMessage
def memory():
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return [int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = memory()[0]
message = EmailMessage()
message["From"] = "alice@example.test"
message["To"] = "bob@example.test"
message["Subject"] = "a file"
message.add_attachment(content, maintype="application", subtype="octet-stream", filename="file.bin")
server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=60)
server.send_message(message)
server.quit()
return memory()[1] - before
$body$;
