-- The queue: messages whose transactions are committed, or will be, with their recipients and content.
--
-- A message is written at one moment, by the library: one row here, one for each recipient, one for each piece of the content.
-- A recipient's row goes when his mail is final, into utl_smtp.delivery_log; with the last of them the message and its content
-- go, too. So these tables hold only what is still to be done. Nothing is granted on them, and there are no foreign keys: the
-- worker judges each row anew, and a row that makes no sense becomes a failed one.

CREATE SEQUENCE utl_smtp.message_id AS bigint;
REVOKE ALL ON SEQUENCE utl_smtp.message_id FROM PUBLIC;
COMMENT ON SEQUENCE utl_smtp.message_id IS 'numbers of messages';

CREATE TABLE utl_smtp.message (
    message_id bigint NOT NULL CONSTRAINT message_key PRIMARY KEY,
    server oid NOT NULL,
    server_name text NOT NULL,
    owner oid NOT NULL,
    owner_name text NOT NULL,
    sender text NOT NULL,
    parameters text NOT NULL,
    subject text,
    size bigint NOT NULL,
    at_most_once boolean NOT NULL,
    home text COLLATE "C" NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    due_at timestamp with time zone NOT NULL,
    next_attempt_at timestamp with time zone NOT NULL,
    last_attempt_at timestamp with time zone,
    lease bigint,
    crashes smallint NOT NULL DEFAULT 0,
    held_reason text
)
-- Most rows live for less than a second, and their dead versions are what a claim walks over.
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- What a server gets next.
CREATE INDEX message_due ON utl_smtp.message (server, next_attempt_at, message_id)
    WHERE lease IS NULL AND held_reason IS NULL;
-- What was in flight when a worker ended.
CREATE INDEX message_leased ON utl_smtp.message (message_id) WHERE lease IS NOT NULL;
-- What was in flight at a crash, and is tried one at a time.
CREATE INDEX message_crashed ON utl_smtp.message (next_attempt_at, message_id)
    WHERE crashes > 0 AND lease IS NULL AND held_reason IS NULL;

REVOKE ALL ON TABLE utl_smtp.message FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message IS 'messages that have recipients whose mail is not final yet';
COMMENT ON COLUMN utl_smtp.message.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.message.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.message.server_name IS 'its name when the message was queued';
COMMENT ON COLUMN utl_smtp.message.owner IS 'OID of the role that the message is sent for';
COMMENT ON COLUMN utl_smtp.message.owner_name IS 'its name when the message was queued';
COMMENT ON COLUMN utl_smtp.message.sender IS 'argument of MAIL FROM without the angle brackets; empty: the null reverse-path';
COMMENT ON COLUMN utl_smtp.message.parameters IS 'parameters of MAIL';
COMMENT ON COLUMN utl_smtp.message.subject IS 'the field Subject, decoded; NULL: there is none';
COMMENT ON COLUMN utl_smtp.message.size IS 'octets of the message as it goes over the wire, without transparency dots';
COMMENT ON COLUMN utl_smtp.message.at_most_once IS 'where the outcome of an attempt is not known, the mail is not sent again';
COMMENT ON COLUMN utl_smtp.message.home IS 'the installation that queued it: system identifier, OID of the database, data directory, timeline, utl_smtp.home';
COMMENT ON COLUMN utl_smtp.message.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.message.due_at IS 'from when its age counts: the latest of submission, send_at and adoption';
COMMENT ON COLUMN utl_smtp.message.next_attempt_at IS 'the earliest of its recipients';
COMMENT ON COLUMN utl_smtp.message.last_attempt_at IS 'when it was last in a transaction with a server; NULL: never';
COMMENT ON COLUMN utl_smtp.message.lease IS 'the worker that has claimed it, a random number; NULL: nobody';
COMMENT ON COLUMN utl_smtp.message.crashes IS 'how often a worker ended without a verdict on it';
COMMENT ON COLUMN utl_smtp.message.held_reason IS 'why it waits for an operator; NULL: it does not';

CREATE TABLE utl_smtp.message_recipient (
    message_id bigint NOT NULL,
    recipient_no integer NOT NULL,
    recipient text NOT NULL,
    parameters text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_attempt_at timestamp with time zone,
    next_attempt_at timestamp with time zone NOT NULL,
    last_reply text,
    CONSTRAINT message_recipient_key PRIMARY KEY (message_id, recipient_no)
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

REVOKE ALL ON TABLE utl_smtp.message_recipient FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message_recipient IS 'recipients whose mail is not final yet';
COMMENT ON COLUMN utl_smtp.message_recipient.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.message_recipient.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.message_recipient.recipient IS 'argument of RCPT TO without the angle brackets';
COMMENT ON COLUMN utl_smtp.message_recipient.parameters IS 'parameters of RCPT';
COMMENT ON COLUMN utl_smtp.message_recipient.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.message_recipient.last_attempt_at IS 'when the last of them was; NULL: none';
COMMENT ON COLUMN utl_smtp.message_recipient.next_attempt_at IS 'not before this moment';
COMMENT ON COLUMN utl_smtp.message_recipient.last_reply IS 'what the last attempt was answered with, or why it failed';

CREATE TABLE utl_smtp.message_content (
    message_id bigint NOT NULL,
    piece_no integer NOT NULL,
    piece bytea NOT NULL,
    CONSTRAINT message_content_key PRIMARY KEY (message_id, piece_no)
)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Compression costs more than the rest of queueing, and base64 gains little by it.
ALTER TABLE utl_smtp.message_content ALTER COLUMN piece SET STORAGE EXTERNAL;

REVOKE ALL ON TABLE utl_smtp.message_content FROM PUBLIC;
COMMENT ON TABLE utl_smtp.message_content IS 'the content of messages, in pieces';
COMMENT ON COLUMN utl_smtp.message_content.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.message_content.piece_no IS 'counts from 1; the pieces in this order are the message';
COMMENT ON COLUMN utl_smtp.message_content.piece IS 'octets, at most 256 kB, with CRLF at the ends of lines and without transparency dots';

-- OIDs mean the same roles and servers within one cluster only. Rows reach others by logical replication.
CREATE FUNCTION utl_smtp.system_identifier() RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'system_identifier_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.system_identifier() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.system_identifier() IS 'what initdb named the cluster';

CREATE TABLE utl_smtp.delivery_log (
    message_id bigint NOT NULL,
    recipient_no integer NOT NULL,
    recipient text NOT NULL,
    state text NOT NULL,
    server oid NOT NULL,
    server_name text NOT NULL,
    owner oid NOT NULL,
    owner_name text NOT NULL,
    sender text NOT NULL,
    subject text,
    size bigint NOT NULL,
    submitted_at timestamp with time zone NOT NULL,
    attempts integer NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    last_reply text,
    remote text,
    cluster bigint NOT NULL DEFAULT utl_smtp.system_identifier(),
    CONSTRAINT delivery_log_key PRIMARY KEY (message_id, recipient_no),
    CONSTRAINT delivery_log_state_is_final
        CHECK (state IN ('sent', 'failed', 'suppressed', 'expired', 'cancelled', 'unknown'))
);
-- For retention and statistics; rows come in this order.
CREATE INDEX delivery_log_finished ON utl_smtp.delivery_log (finished_at);

REVOKE ALL ON TABLE utl_smtp.delivery_log FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_log IS 'recipients whose mail is final: one row for each, for ever the only one; kept for utl_smtp.log_retention';
COMMENT ON COLUMN utl_smtp.delivery_log.message_id IS 'the message';
COMMENT ON COLUMN utl_smtp.delivery_log.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.delivery_log.recipient IS 'argument of RCPT TO without the angle brackets';
COMMENT ON COLUMN utl_smtp.delivery_log.state IS 'sent, failed, suppressed, expired, cancelled or unknown';
COMMENT ON COLUMN utl_smtp.delivery_log.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.delivery_log.server_name IS 'its name';
COMMENT ON COLUMN utl_smtp.delivery_log.owner IS 'OID of the role that the message was sent for';
COMMENT ON COLUMN utl_smtp.delivery_log.owner_name IS 'its name';
COMMENT ON COLUMN utl_smtp.delivery_log.sender IS 'argument of MAIL FROM without the angle brackets';
COMMENT ON COLUMN utl_smtp.delivery_log.subject IS 'the field Subject, decoded';
COMMENT ON COLUMN utl_smtp.delivery_log.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.delivery_log.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.delivery_log.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.delivery_log.finished_at IS 'when the mail became final';
COMMENT ON COLUMN utl_smtp.delivery_log.last_reply IS 'what the last attempt was answered with, or why the mail is final';
COMMENT ON COLUMN utl_smtp.delivery_log.remote IS 'host[address]:port of the server that was talked to; NULL: none';
COMMENT ON COLUMN utl_smtp.delivery_log.cluster IS 'system identifier of the cluster that the OIDs are of';


-- What the worker of this database and the operators tell one another. One row.

CREATE TABLE utl_smtp.delivery_control (
    only_row boolean NOT NULL DEFAULT true CONSTRAINT delivery_control_key PRIMARY KEY
        CONSTRAINT delivery_control_has_one_row CHECK (only_row),
    enabled boolean NOT NULL DEFAULT true,
    pushed_at timestamp with time zone
);
INSERT INTO utl_smtp.delivery_control DEFAULT VALUES;
REVOKE ALL ON TABLE utl_smtp.delivery_control FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_control IS 'one row: how delivery is controlled in this database; not dumped';
COMMENT ON COLUMN utl_smtp.delivery_control.only_row IS 'always true';
COMMENT ON COLUMN utl_smtp.delivery_control.enabled IS 'false: stop_delivery() was called';
COMMENT ON COLUMN utl_smtp.delivery_control.pushed_at IS 'when push_queue() was last called';

CREATE TABLE utl_smtp.adopted_home (
    home text COLLATE "C" NOT NULL,
    adopted text COLLATE "C" NOT NULL,
    CONSTRAINT adopted_home_key PRIMARY KEY (home, adopted)
);
REVOKE ALL ON TABLE utl_smtp.adopted_home FROM PUBLIC;
COMMENT ON TABLE utl_smtp.adopted_home IS 'whose mail an installation sends besides its own: after a failover or adopt_queue(true)';
COMMENT ON COLUMN utl_smtp.adopted_home.home IS 'the installation that sends; in another one the row says nothing';
COMMENT ON COLUMN utl_smtp.adopted_home.adopted IS 'the installation that queued';

CREATE TABLE utl_smtp.server_state (
    server oid NOT NULL CONSTRAINT server_state_key PRIMARY KEY,
    state text NOT NULL,
    until timestamp with time zone,
    connections integer NOT NULL,
    last_error text,
    last_error_at timestamp with time zone
);
REVOKE ALL ON TABLE utl_smtp.server_state FROM PUBLIC;
COMMENT ON TABLE utl_smtp.server_state IS 'what the worker knows of each mail server, written when it changes and at most once a second; not dumped';
COMMENT ON COLUMN utl_smtp.server_state.server IS 'OID of the foreign server';
COMMENT ON COLUMN utl_smtp.server_state.state IS 'ok, backed off, paused or limited';
COMMENT ON COLUMN utl_smtp.server_state.until IS 'when a back-off or a limit ends';
COMMENT ON COLUMN utl_smtp.server_state.connections IS 'connections of the worker';
COMMENT ON COLUMN utl_smtp.server_state.last_error IS 'why the server could not be used last';
COMMENT ON COLUMN utl_smtp.server_state.last_error_at IS 'when that was';

CREATE TABLE utl_smtp.worker_state (
    only_row boolean NOT NULL DEFAULT true CONSTRAINT worker_state_key PRIMARY KEY
        CONSTRAINT worker_state_has_one_row CHECK (only_row),
    pid integer,
    state text,
    since timestamp with time zone,
    connections integer,
    queued bigint,
    deferred bigint,
    held bigint,
    counted_at timestamp with time zone,
    last_error text
);
INSERT INTO utl_smtp.worker_state DEFAULT VALUES;
REVOKE ALL ON TABLE utl_smtp.worker_state FROM PUBLIC;
COMMENT ON TABLE utl_smtp.worker_state IS 'one row: what the worker of this database last said of itself; not dumped';
COMMENT ON COLUMN utl_smtp.worker_state.only_row IS 'always true';
COMMENT ON COLUMN utl_smtp.worker_state.pid IS 'its process';
COMMENT ON COLUMN utl_smtp.worker_state.state IS 'running or idle';
COMMENT ON COLUMN utl_smtp.worker_state.since IS 'when that began';
COMMENT ON COLUMN utl_smtp.worker_state.connections IS 'connections to mail servers';
COMMENT ON COLUMN utl_smtp.worker_state.queued IS 'recipients that wait for their first attempt';
COMMENT ON COLUMN utl_smtp.worker_state.deferred IS 'recipients that wait for another attempt';
COMMENT ON COLUMN utl_smtp.worker_state.held IS 'recipients that wait for an operator';
COMMENT ON COLUMN utl_smtp.worker_state.counted_at IS 'when the three were counted';
COMMENT ON COLUMN utl_smtp.worker_state.last_error IS 'the last error of the worker itself';

CREATE TABLE utl_smtp.delivery_pause (
    server oid NOT NULL,
    began_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT delivery_pause_key PRIMARY KEY (server, began_at)
);
REVOKE ALL ON TABLE utl_smtp.delivery_pause FROM PUBLIC;
COMMENT ON TABLE utl_smtp.delivery_pause IS 'times in which mail did not age: its server was paused, or delivery was stopped or off';
COMMENT ON COLUMN utl_smtp.delivery_pause.server IS 'OID of the foreign server; 0: all of them';
COMMENT ON COLUMN utl_smtp.delivery_pause.began_at IS 'when it began';
COMMENT ON COLUMN utl_smtp.delivery_pause.ended_at IS 'when it ended; NULL: it has not';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_id', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_recipient', '');
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.message_content', '');
