-- What the functions of the benchmark share. The words in capitals between dollar signs are put in by the harness.

CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO PUBLIC;
CREATE EXTENSION plpython3u;
CREATE EXTENSION plperlu;

CREATE FUNCTION bench.message() RETURNS text LANGUAGE sql IMMUTABLE RETURN $message$$MESSAGE$$message$;
CREATE FUNCTION bench.line() RETURNS text LANGUAGE sql IMMUTABLE RETURN $line$$LINE$$line$;

CREATE FUNCTION bench.empty(c utl_smtp.connection, line text) RETURNS void LANGUAGE c AS '$LIBRARY$', 'empty';
CREATE FUNCTION bench.empty() RETURNS void LANGUAGE c AS '$LIBRARY$', 'empty';


-- Time on the wall and processor time of this backend, in seconds.

CREATE TYPE bench.clock AS (wall double precision, cpu double precision);

CREATE FUNCTION bench.now() RETURNS bench.clock LANGUAGE plpython3u AS $body$
import time
return (time.perf_counter(), time.process_time())
$body$;

CREATE FUNCTION bench.since(clock bench.clock) RETURNS bench.clock LANGUAGE plpython3u AS $body$
import time
return (time.perf_counter() - clock["wall"], time.process_time() - clock["cpu"])
$body$;


-- Memory of this backend, in octets: all that is resident, and its peak since the last reset.

CREATE FUNCTION bench.memory(reset boolean, OUT resident bigint, OUT peak bigint) LANGUAGE plpython3u AS $body$
if reset:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
with open("/proc/self/status") as file:
    status = dict(line.split(":", 1) for line in file)
return tuple(int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
$body$;
