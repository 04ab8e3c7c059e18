-- Oracle's DBMS_NETWORK_ACL_UTILITY: how hosts, domains and subnets relate. Pure functions, for everybody; none of
-- them asks the DNS, and NULL in is NULL out.

CREATE SCHEMA dbms_network_acl_utility;
GRANT USAGE ON SCHEMA dbms_network_acl_utility TO PUBLIC;
COMMENT ON SCHEMA dbms_network_acl_utility IS
'Oracle''s DBMS_NETWORK_ACL_UTILITY: how hosts, domains and subnets relate';

CREATE FUNCTION dbms_network_acl_utility.domains(host text) RETURNS text[]
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'domains_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.domains(text) IS
'the host itself, then the domains or subnets it lies in, the nearest first';

CREATE FUNCTION dbms_network_acl_utility.domain_level(host text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'domain_level_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.domain_level(text) IS
'how deep a host, domain or subnet lies: 4 for www.hr.example.com, 3 for *.hr.example.com, 0 for *';

CREATE FUNCTION dbms_network_acl_utility.equals_host(host1 text, host2 text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'equals_host_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.equals_host(text, text) IS
'1 if both are the same host, domain or subnet, however it is written, else 0';

CREATE FUNCTION dbms_network_acl_utility.contains_host(host text, domain text) RETURNS integer
LANGUAGE c IMMUTABLE STRICT
AS 'MODULE_PATHNAME', 'contains_host_wrapper';
COMMENT ON FUNCTION dbms_network_acl_utility.contains_host(text, text) IS
'the precedence of an entry for the domain when the host is asked for: the level of a host name or domain, significant bits of an address or subnet, 0 for *; NULL if the host is not in it';
