-- The peers: what else sends mail from inside of PostgreSQL with Debian's packages, each written as its documentation
-- suggests. The dialogue is the same: EHLO, MAIL, RCPT, DATA, the message, QUIT.

CREATE FUNCTION bench.python_each(port integer, mails bigint, message text) RETURNS void LANGUAGE plpython3u AS $body$
import smtplib
for _ in range(mails):
    server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=30)
    server.sendmail("alice@example.test", ["bob@example.test"], message)
    server.quit()
$body$;

CREATE FUNCTION bench.python_kept(port integer, mails bigint, message text) RETURNS void LANGUAGE plpython3u AS $body$
import smtplib
server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=30)
for _ in range(mails):
    server.sendmail("alice@example.test", ["bob@example.test"], message)
server.quit()
$body$;

-- The context, with the parsed certificates, is kept between calls: its best case.
CREATE FUNCTION bench.python_tls(port integer, mails bigint, message text, ca text) RETURNS void
LANGUAGE plpython3u AS $body$
import smtplib, ssl
context = SD.setdefault("context", None) or ssl.create_default_context(cafile=ca)
SD["context"] = context
for _ in range(mails):
    server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=30)
    server.starttls(context=context)
    server.login("alice", "secret")
    server.sendmail("alice@example.test", ["bob@example.test"], message)
    server.quit()
$body$;

-- Bytes, made before: smtplib sends them as they are but for dots, while it would rewrite each line end of a text.
CREATE FUNCTION bench.python_data(port integer, mails bigint, message text, OUT wall double precision, OUT cpu double precision)
LANGUAGE plpython3u AS $body$
import smtplib, time
wall = cpu = 0.0
octets = message.encode()
server = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.test", timeout=60)
server.ehlo()
for _ in range(mails):
    server.mail("alice@example.test")
    server.rcpt("bob@example.test")
    wall -= time.perf_counter()
    cpu -= time.process_time()
    server.data(octets)
    wall += time.perf_counter()
    cpu += time.process_time()
server.quit()
return (wall, cpu)
$body$;

-- Net::SMTP takes a signal for a time-out of the server, and a backend gets one from its timer of statistics: it is blocked.

CREATE FUNCTION bench.perl_each(port integer, mails bigint, message text) RETURNS void LANGUAGE plperlu AS $body$
use Net::SMTP;
use POSIX qw(:signal_h);
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGALRM));
my ($port, $mails, $message) = @_;
for (1 .. $mails) {
    my $server = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example.test", Timeout => 30)
        or die "cannot connect";
    $server->mail("alice\@example.test") && $server->to("bob\@example.test") && $server->data($message)
        or die $server->message;
    $server->quit;
}
$body$;

CREATE FUNCTION bench.perl_kept(port integer, mails bigint, message text) RETURNS void LANGUAGE plperlu AS $body$
use Net::SMTP;
use POSIX qw(:signal_h);
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGALRM));
my ($port, $mails, $message) = @_;
my $server = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example.test", Timeout => 30)
    or die "cannot connect";
for (1 .. $mails) {
    $server->mail("alice\@example.test") && $server->to("bob\@example.test") && $server->data($message)
        or die $server->message;
}
$server->quit;
$body$;

CREATE FUNCTION bench.perl_data(port integer, mails bigint, message text, OUT wall double precision, OUT cpu double precision)
LANGUAGE plperlu AS $body$
use Net::SMTP;
use POSIX qw(:signal_h);
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGALRM));
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);
my ($port, $mails, $message) = @_;
my ($wall, $cpu) = (0, 0);
my $server = Net::SMTP->new("127.0.0.1", Port => $port, Hello => "client.example.test", Timeout => 60)
    or die "cannot connect";
for (1 .. $mails) {
    $server->mail("alice\@example.test") && $server->to("bob\@example.test") or die $server->message;
    $wall -= clock_gettime(CLOCK_MONOTONIC);
    $cpu -= clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    $server->data($message) or die $server->message;
    $wall += clock_gettime(CLOCK_MONOTONIC);
    $cpu += clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
}
$server->quit;
return { wall => $wall, cpu => $cpu };
$body$;
