-- Watching the queue, and what operators do with it.
--
-- The views stand on functions of the library that return what the reader may see and nothing else: the rows of others must
-- not enter a plan of his, where EXPLAIN ANALYZE counts what a filter removes and leakproof comparisons are done below a
-- security barrier. Conditions on message_id, and on finished_at in the log, become arguments of the functions: there are
-- indexes for them.

CREATE FUNCTION utl_smtp.view_support(request internal) RETURNS internal
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'view_support_wrapper';
COMMENT ON FUNCTION utl_smtp.view_support(internal) IS
'planner support function: conditions of queries on utl_smtp.mail_queue and utl_smtp.mail_log become arguments of the functions below them';

CREATE FUNCTION utl_smtp.view_mail_queue(of_message bigint) RETURNS TABLE (
    message_id bigint,
    recipient_no integer,
    recipient text,
    state text,
    held_reason text,
    server text,
    owner text,
    sender text,
    subject text,
    size bigint,
    submitted_at timestamp with time zone,
    attempts integer,
    last_attempt_at timestamp with time zone,
    next_attempt_at timestamp with time zone,
    last_reply text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SUPPORT utl_smtp.view_support
AS 'MODULE_PATHNAME', 'view_mail_queue_wrapper';
COMMENT ON FUNCTION utl_smtp.view_mail_queue(bigint) IS
'the rows of utl_smtp.mail_queue that the current role may see; NULL: no condition';

CREATE VIEW utl_smtp.mail_queue WITH (security_barrier) AS
    SELECT queue.message_id,
           queue.recipient_no,
           queue.recipient,
           queue.state,
           queue.held_reason,
           queue.server,
           queue.owner,
           queue.sender,
           queue.subject,
           queue.size,
           queue.submitted_at,
           queue.attempts,
           queue.last_attempt_at,
           queue.next_attempt_at,
           queue.last_reply
    FROM utl_smtp.view_mail_queue(NULL) AS queue;

REVOKE ALL ON TABLE utl_smtp.mail_queue FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.mail_queue TO PUBLIC;
COMMENT ON VIEW utl_smtp.mail_queue IS
'the recipients whose mail is not final yet, of messages of roles whose privileges the current role has; members of pg_read_all_stats see all without addresses, subjects and the texts of replies';
COMMENT ON COLUMN utl_smtp.mail_queue.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.mail_queue.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.mail_queue.recipient IS 'address of the recipient';
COMMENT ON COLUMN utl_smtp.mail_queue.state IS 'queued: waits for its first attempt; sending: claimed by the worker; deferred: failed for now; held: waits for an operator';
COMMENT ON COLUMN utl_smtp.mail_queue.held_reason IS 'copy: another installation queued it, see utl_smtp.adopt_queue; crashed: it was in flight at three crashes, see utl_smtp.retry; NULL: it is not held';
COMMENT ON COLUMN utl_smtp.mail_queue.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.mail_queue.owner IS 'the role that the message is sent for';
COMMENT ON COLUMN utl_smtp.mail_queue.sender IS 'address of the envelope''s sender; empty: the null sender';
COMMENT ON COLUMN utl_smtp.mail_queue.subject IS 'the field Subject, decoded; NULL: there is none';
COMMENT ON COLUMN utl_smtp.mail_queue.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.mail_queue.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.mail_queue.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.mail_queue.last_attempt_at IS 'when the last of them was; NULL: none';
COMMENT ON COLUMN utl_smtp.mail_queue.next_attempt_at IS 'not before this moment; NULL: it is held';
COMMENT ON COLUMN utl_smtp.mail_queue.last_reply IS 'what the last attempt was answered with, or why it failed';


CREATE FUNCTION utl_smtp.view_mail_log(
    of_message bigint,
    since timestamp with time zone,
    until timestamp with time zone
) RETURNS TABLE (
    message_id bigint,
    recipient_no integer,
    recipient text,
    state text,
    server text,
    owner text,
    sender text,
    subject text,
    size bigint,
    submitted_at timestamp with time zone,
    attempts integer,
    finished_at timestamp with time zone,
    last_reply text,
    remote text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
SUPPORT utl_smtp.view_support
AS 'MODULE_PATHNAME', 'view_mail_log_wrapper';
COMMENT ON FUNCTION utl_smtp.view_mail_log(bigint, timestamp with time zone, timestamp with time zone) IS
'the rows of utl_smtp.mail_log that the current role may see; NULL: no condition';

CREATE VIEW utl_smtp.mail_log WITH (security_barrier) AS
    SELECT log.message_id,
           log.recipient_no,
           log.recipient,
           log.state,
           log.server,
           log.owner,
           log.sender,
           log.subject,
           log.size,
           log.submitted_at,
           log.attempts,
           log.finished_at,
           log.last_reply,
           log.remote
    FROM utl_smtp.view_mail_log(NULL, NULL, NULL) AS log;

REVOKE ALL ON TABLE utl_smtp.mail_log FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.mail_log TO PUBLIC;
COMMENT ON VIEW utl_smtp.mail_log IS
'the recipients whose mail is final, for utl_smtp.log_retention; who sees what is as with utl_smtp.mail_queue';
COMMENT ON COLUMN utl_smtp.mail_log.message_id IS 'what utl_smtp.submit returned';
COMMENT ON COLUMN utl_smtp.mail_log.recipient_no IS 'counts from 1 within the message';
COMMENT ON COLUMN utl_smtp.mail_log.recipient IS 'address of the recipient';
COMMENT ON COLUMN utl_smtp.mail_log.state IS 'sent, failed, suppressed, expired, cancelled or unknown';
COMMENT ON COLUMN utl_smtp.mail_log.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.mail_log.owner IS 'the role that the message was sent for';
COMMENT ON COLUMN utl_smtp.mail_log.sender IS 'address of the envelope''s sender; empty: the null sender';
COMMENT ON COLUMN utl_smtp.mail_log.subject IS 'the field Subject, decoded; NULL: there was none';
COMMENT ON COLUMN utl_smtp.mail_log.size IS 'octets of the message';
COMMENT ON COLUMN utl_smtp.mail_log.submitted_at IS 'when it was queued';
COMMENT ON COLUMN utl_smtp.mail_log.attempts IS 'transactions that were tried';
COMMENT ON COLUMN utl_smtp.mail_log.finished_at IS 'when the mail became final';
COMMENT ON COLUMN utl_smtp.mail_log.last_reply IS 'what the last attempt was answered with, or why the mail is final';
COMMENT ON COLUMN utl_smtp.mail_log.remote IS 'host[address]:port of the server that was talked to; NULL: none';


CREATE FUNCTION utl_smtp.view_server_status() RETURNS TABLE (
    server text,
    state text,
    until timestamp with time zone,
    waiting bigint,
    connections integer,
    last_error text,
    last_error_at timestamp with time zone
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 10
AS 'MODULE_PATHNAME', 'view_server_status_wrapper';
COMMENT ON FUNCTION utl_smtp.view_server_status() IS 'the rows of utl_smtp.server_status that the current role may see';

CREATE VIEW utl_smtp.server_status WITH (security_barrier) AS
    SELECT status.server,
           status.state,
           status.until,
           status.waiting,
           status.connections,
           status.last_error,
           status.last_error_at
    FROM utl_smtp.view_server_status() AS status;

REVOKE ALL ON TABLE utl_smtp.server_status FROM PUBLIC;
GRANT SELECT ON TABLE utl_smtp.server_status TO PUBLIC;
COMMENT ON VIEW utl_smtp.server_status IS 'the mail servers that the current role has USAGE on, as the worker sees them';
COMMENT ON COLUMN utl_smtp.server_status.server IS 'name of the mail server';
COMMENT ON COLUMN utl_smtp.server_status.state IS 'ok; backed off: it could not be used; paused: by its option; limited: by its limits of messages and recipients';
COMMENT ON COLUMN utl_smtp.server_status.until IS 'when a back-off or a limit ends';
COMMENT ON COLUMN utl_smtp.server_status.waiting IS 'recipients of all roles whose mail is queued, deferred or being sent';
COMMENT ON COLUMN utl_smtp.server_status.connections IS 'open connections of the worker';
COMMENT ON COLUMN utl_smtp.server_status.last_error IS 'why the server could not be used last; NULL: it always could';
COMMENT ON COLUMN utl_smtp.server_status.last_error_at IS 'when that was';


CREATE FUNCTION utl_smtp.delivery_status() RETURNS TABLE (
    database text,
    pid integer,
    state text,
    since timestamp with time zone,
    connections integer,
    queued bigint,
    deferred bigint,
    held bigint,
    last_error text
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
ROWS 1
AS 'MODULE_PATHNAME', 'delivery_status_wrapper';
COMMENT ON FUNCTION utl_smtp.delivery_status() IS
'one row about the delivery of this database: the worker''s process; state: running, idle, stopped (by stop_delivery), off (by utl_smtp.deliver), absent (there is no launcher; the next message starts one) or outdated (ALTER EXTENSION utl_smtp UPDATE); recipients that wait, exact to a minute; last_error is shown to superusers and members of pg_read_all_stats';

CREATE FUNCTION utl_smtp.delivery_stats(
    since timestamp with time zone = (pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::pg_catalog.interval)
) RETURNS TABLE (
    hour timestamp with time zone,
    server text,
    sent bigint,
    failed bigint,
    suppressed bigint,
    expired bigint,
    attempts bigint,
    bytes bigint,
    median_seconds double precision,
    p95_seconds double precision
)
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'delivery_stats_wrapper';
COMMENT ON FUNCTION utl_smtp.delivery_stats(timestamp with time zone) IS
'recipients that became final since then, by hour and server, of messages that the current role sees in utl_smtp.mail_log; bytes of what was sent, and the seconds from submission to acceptance';


-- What is done with messages. A claimed recipient is in the hands of the worker: nobody else touches it.

CREATE FUNCTION utl_smtp.cancel(message_id bigint) RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cancel_wrapper';
COMMENT ON FUNCTION utl_smtp.cancel(bigint) IS
'cancels a message for the recipients that still wait, and returns how many they were; those that are being sent to go on. For the message''s owner';

CREATE FUNCTION utl_smtp.retry(message_id bigint) RETURNS integer
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'retry_wrapper';
COMMENT ON FUNCTION utl_smtp.retry(bigint) IS
'makes the deferred recipients of a message due now, and frees a message that is held because of crashes; returns how many recipients. For the message''s owner';

CREATE FUNCTION utl_smtp.push_queue() RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'push_queue_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.push_queue() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.push_queue() IS
'makes all deferred mail of this database due now and ends the back-off of its servers';

CREATE FUNCTION utl_smtp.adopt_queue(send boolean) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'adopt_queue_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.adopt_queue(boolean) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.adopt_queue(boolean) IS
'what another installation has queued and a copy of it holds: true sends it from here, with servers and owners by their names, false cancels it; returns how many recipients';

CREATE FUNCTION utl_smtp.purge(before timestamp with time zone) RETURNS bigint
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'purge_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.purge(timestamp with time zone) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.purge(timestamp with time zone) IS
'deletes what became final before a moment from the log, and returns how many recipients; utl_smtp.log_retention does so by itself';
