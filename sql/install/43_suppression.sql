-- Who gets no mail any more, and who may send in whose name.

CREATE FUNCTION utl_smtp.canonical_address(address text) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'canonical_address_wrapper';
COMMENT ON FUNCTION utl_smtp.canonical_address(text) IS
'the one spelling under which the suppression list keeps an address: local part in NFC and lower case, domain as lower-case A-labels; NULL: it is no address';

CREATE TABLE utl_smtp.suppression (
    address text COLLATE "C" NOT NULL CONSTRAINT suppression_key PRIMARY KEY,
    reason text NOT NULL,
    reply text,
    message_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT pg_catalog.now(),
    last_hit_at timestamp with time zone,
    CONSTRAINT suppression_address_is_canonical
        CHECK (coalesce(address OPERATOR(pg_catalog.=) utl_smtp.canonical_address(address), false)),
    CONSTRAINT suppression_reason_is_known
        CHECK (reason IN ('hard bounce', 'soft bounce', 'manual', 'complaint', 'unsubscribe'))
);
REVOKE ALL ON TABLE utl_smtp.suppression FROM PUBLIC;
COMMENT ON TABLE utl_smtp.suppression IS 'addresses that queued mail is not sent to';
COMMENT ON COLUMN utl_smtp.suppression.address IS 'the address, as utl_smtp.canonical_address spells it';
COMMENT ON COLUMN utl_smtp.suppression.reason IS 'hard bounce or soft bounce, which were added by themselves; manual, complaint or unsubscribe';
COMMENT ON COLUMN utl_smtp.suppression.reply IS 'the reply that it was added for; NULL: it was added by hand';
COMMENT ON COLUMN utl_smtp.suppression.message_id IS 'the message that the reply was to; NULL: it was added by hand';
COMMENT ON COLUMN utl_smtp.suppression.created_at IS 'when it was added';
COMMENT ON COLUMN utl_smtp.suppression.last_hit_at IS 'when a mail was last not sent because of it; NULL: never';

-- The last final results of an address, as far as they are failures of its mailbox. The log can't be asked: it has no index
-- by address, which every mail would have to pay for.
CREATE TABLE utl_smtp.soft_bounce (
    address text COLLATE "C" NOT NULL CONSTRAINT soft_bounce_key PRIMARY KEY,
    failures integer NOT NULL,
    last_failure_at timestamp with time zone NOT NULL
);
REVOKE ALL ON TABLE utl_smtp.soft_bounce FROM PUBLIC;
COMMENT ON TABLE utl_smtp.soft_bounce IS 'addresses whose last final results were failures of the mailbox; not dumped';
COMMENT ON COLUMN utl_smtp.soft_bounce.address IS 'the address, as utl_smtp.canonical_address spells it';
COMMENT ON COLUMN utl_smtp.soft_bounce.failures IS 'how many in a row';
COMMENT ON COLUMN utl_smtp.soft_bounce.last_failure_at IS 'when the last of them was; they count for utl_smtp.log_retention';

CREATE FUNCTION utl_smtp.suppress(address text, reason text = 'manual') RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'suppress_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.suppress(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.suppress(text, text) IS
'puts an address on the suppression list; reason is manual, complaint or unsubscribe, and replaces that of an address that is on it';

CREATE FUNCTION utl_smtp.unsuppress(address text) RETURNS boolean
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'unsuppress_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.unsuppress(text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.unsuppress(text) IS
'takes an address off the suppression list; returns whether it was on it';

CREATE FUNCTION utl_smtp.is_suppressed(address text) RETURNS boolean
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'is_suppressed_wrapper';
COMMENT ON FUNCTION utl_smtp.is_suppressed(text) IS
'whether an address is on the suppression list, in any of its spellings';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.suppression', '');


-- Approved senders

CREATE FUNCTION utl_smtp.canonical_sender(sender text) RETURNS text
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'canonical_sender_wrapper';
COMMENT ON FUNCTION utl_smtp.canonical_sender(text) IS
'the one spelling of an address, of all addresses of a domain (*@example.com) or of all (*), under which approved_sender keeps it; an invalid one is an error';

CREATE TABLE utl_smtp.approved_sender (
    principal regrole NOT NULL,
    sender text COLLATE "C" NOT NULL,
    CONSTRAINT approved_sender_key PRIMARY KEY (sender, principal),
    CONSTRAINT approved_sender_sender_is_canonical
        CHECK (sender OPERATOR(pg_catalog.=) utl_smtp.canonical_sender(sender))
);
REVOKE ALL ON TABLE utl_smtp.approved_sender FROM PUBLIC;
COMMENT ON TABLE utl_smtp.approved_sender IS
'which role may send as which envelope sender, where utl_smtp.require_approved_sender is on';
COMMENT ON COLUMN utl_smtp.approved_sender.principal IS 'the role, of which membership counts; 0 (shown as -) is PUBLIC';
COMMENT ON COLUMN utl_smtp.approved_sender.sender IS 'an address, *@domain or *, as utl_smtp.canonical_sender spells it';

CREATE FUNCTION utl_smtp.approve_sender(principal text, sender text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'approve_sender_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.approve_sender(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approve_sender(text, text) IS
'lets a role, or PUBLIC, send as an address, as all of a domain (*@example.com) or as anybody (*), where utl_smtp.require_approved_sender is on';

CREATE FUNCTION utl_smtp.revoke_sender(principal text, sender text) RETURNS void
LANGUAGE c VOLATILE CALLED ON NULL INPUT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'revoke_sender_wrapper';
REVOKE ALL ON FUNCTION utl_smtp.revoke_sender(text, text) FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.revoke_sender(text, text) IS
'takes back what approve_sender allowed with the same arguments; what another entry allows stays allowed';


-- Approved senders in a dump, with the names of roles as text: see host_ace_dump.

CREATE TABLE utl_smtp.approved_sender_dump (
    principal text,
    sender text
);
ALTER TABLE utl_smtp.approved_sender_dump REPLICA IDENTITY FULL;
REVOKE ALL ON TABLE utl_smtp.approved_sender_dump FROM PUBLIC;
COMMENT ON TABLE utl_smtp.approved_sender_dump IS
'the rows of approved_sender on their way through a dump; after a restore those of roles that do not exist';
COMMENT ON COLUMN utl_smtp.approved_sender_dump.principal IS 'name of the role; public, which no role can be called, is PUBLIC';
COMMENT ON COLUMN utl_smtp.approved_sender_dump.sender IS 'as in utl_smtp.approved_sender';

SELECT pg_catalog.pg_extension_config_dump('utl_smtp.approved_sender_dump', $condition$UNION ALL
SELECT CASE WHEN approved.principal = 0 THEN 'public' ELSE role.rolname END, approved.sender
FROM utl_smtp.approved_sender AS approved LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = approved.principal
WHERE approved.principal = 0 OR role.oid IS NOT NULL$condition$);
SELECT pg_catalog.pg_extension_config_dump('utl_smtp.approved_sender', 'WHERE false');

CREATE FUNCTION utl_smtp.approved_sender_restore() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    missing record;
BEGIN
    FOR missing IN
        SELECT dumped.principal, string_agg(dumped.sender, ', ' ORDER BY dumped.sender) AS senders
        FROM utl_smtp.approved_sender_dump AS dumped
        WHERE dumped.principal <> 'public'
          AND NOT EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        GROUP BY dumped.principal
        ORDER BY dumped.principal
    LOOP
        RAISE WARNING USING
            MESSAGE = format('role "%s" does not exist, its approved senders are not restored', missing.principal),
            DETAIL = format('They are %s.', missing.senders),
            HINT = 'Create the role, then call utl_smtp.approved_sender_restore(); or delete them from utl_smtp.approved_sender_dump.';
    END LOOP;

    WITH restored AS (
        DELETE FROM utl_smtp.approved_sender_dump AS dumped
        WHERE dumped.principal = 'public'
           OR EXISTS (SELECT FROM pg_roles AS role WHERE role.rolname = dumped.principal)
        RETURNING dumped.sender, coalesce((SELECT role.oid FROM pg_roles AS role
                                           WHERE role.rolname = dumped.principal), 0)::regrole AS role
    )
    INSERT INTO utl_smtp.approved_sender (principal, sender)
    SELECT restored.role, restored.sender
    FROM restored
    ON CONFLICT DO NOTHING;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.approved_sender_restore() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approved_sender_restore() IS
'moves the rows of approved_sender_dump to approved_sender; a warning names each role that does not exist. Call it when the roles have been created, or after a restore with triggers disabled';

CREATE FUNCTION utl_smtp.approved_sender_restore_at_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM utl_smtp.approved_sender_restore();
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION utl_smtp.approved_sender_restore_at_once() FROM PUBLIC;
COMMENT ON FUNCTION utl_smtp.approved_sender_restore_at_once() IS
'trigger of approved_sender_dump: calls approved_sender_restore';

CREATE TRIGGER restore_at_once AFTER INSERT ON utl_smtp.approved_sender_dump
    FOR EACH STATEMENT EXECUTE FUNCTION utl_smtp.approved_sender_restore_at_once();
COMMENT ON TRIGGER restore_at_once ON utl_smtp.approved_sender_dump IS
'moves what a restore inserts';
