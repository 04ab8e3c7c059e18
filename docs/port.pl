#!/usr/bin/perl -0777 -p
# Rewrites calls of UTL_SMTP and its companions from PL/SQL to PL/pgSQL, in Oracle's source or in ora2pg's output:
#
#   perl port.pl before.sql >after.sql
#
# What it does and what it leaves to you is in migration-from-oracle.md. Compare before and after.
my $routine = 'helo|ehlo|starttls|auth|mail|rcpt|data|open_data|write_data|write_raw_data|close_data'
            . '|rset|noop|vrfy|help|quit|command|command_replies|close_connection';
my %state = (29277 => 'U9277', 29278 => 'U9278', 29279 => 'U9279', 24249 => 'U4249', 24250 => 'U4250', 24247 => '42501',
             29024 => 'U9024', 24263 => 'U4263', 28759 => 'U8759', 29260 => 'U9278', 29276 => 'U9278', 29261 => '22023', 44101 => '22023',
             utl_mail => 'U9261');
my %name = ('utl_smtp.invalid_operation' => 29277, 'utl_smtp.transient_error' => 29278, 'utl_smtp.permanent_error' => 29279,
            'utl_smtp.unsupported_scheme' => 24249, 'utl_smtp.no_supported_scheme' => 24250,
            'utl_tcp.network_error' => 29260, 'utl_tcp.transfer_timeout' => 29276, 'utl_tcp.bad_argument' => 29261,
            'utl_mail.invalid_argument' => 'utl_mail', 'utl_mail.invalid_priority' => 44101);
my $name = join '|', map { quotemeta } keys %name;
s/\bsys\.(utl_smtp|utl_mail|utl_tcp|utl_raw)\./$1./gi;
# Text as bytes. ora2pg replaces CAST_TO_RAW(x) by encode(x::bytea, 'hex')::bytea, which is the hexadecimal digits of x.
# It takes the first closing parenthesis for the last: CAST_TO_RAW(f(x)) becomes encode(f(x::bytea, 'hex')::bytea).
my $quoted = qr/\be'(?:[^'\\]|\\.|'')*+'|\bn?q'(?:\[.*?\]|\{.*?\}|\(.*?\)|<.*?>|(?<q>[^\s\[{(<]).*?\k<q>)'|'(?:[^']|'')*+'/is;
my $opaque = qr/$quoted|"[^"]*"|--[^\n]*|\/\*.*?\*\//s;
my $piece;
$piece = qr/$opaque|[^()'"]|\((?:(??{$piece}))*+\)/s;
my $to_first = qr/$opaque|(?!\bencode\s*\()[^)'"]/is;
s/$opaque(*SKIP)(*FAIL)|\bencode\s*\((?<x>(?:$piece)*?|(?:$to_first)*?)::\s*bytea\s*,\s*'hex'\s*\)\s*::\s*bytea\b/utl_raw.cast_to_raw($+{x})/gis;
1 while s/$opaque(*SKIP)(*FAIL)|\butl_raw\.cast_(?<to>to_raw|to_varchar2)\s*\((?<x>(?:$piece)*)\)/
    (lc $+{to} eq 'to_raw' ? 'convert_to' : 'convert_from') . "($+{x}, 'UTF8')"/gise;
# a call that is a statement; CALL and SELECT are what converters make of it
s/\bSELECT\s+(utl_smtp\.(?:$routine)\s*\([^;]*\))\s*INTO\s+(\w+)(?:\s+FROM\s+dual)?\s*;/$2 := $1;/gi;
s/(\A|;|>>|\*\/|--[^\n]*\n|\b(?:BEGIN|THEN|ELSE|LOOP)\s)(\s*)(?:CALL\s+|SELECT\s+|PERFORM\s+)?((?:utl_smtp\.(?:$routine)|utl_mail\.send(?:_attach_\w+)?)\s*\()/$1$2PERFORM $3/gi;
# constants
s/\b(utl_tcp\.crlf|utl_smtp\.(?:all_schemes|non_cleartext_password_schemes)|xs_acl\.ptype_\w+)\b(?!\s*\()/$1()/gi;
# exceptions and their numbers
s/\bSQLCODE(\s*(?:<>|!=|=)\s*)utl_smtp\.(\w+)_errcode\b(?:\s*\(\s*\))?/SQLSTATE$1utl_smtp.$2()/gi;
s/\bSQLCODE(\s*(?:<>|!=|=)\s*)-\s*(\d+)/exists $state{$2} ? "SQLSTATE$1'$state{$2}'" : $&/gie;
s/\b(utl_(?:smtp|mail)\.\w+_errcode)\b(?!\s*\()/$1()/gi;
s/\b($name)\b(?!\s*\()/"SQLSTATE '$state{$name{lc $1}}'"/gie;
# the lines of a reply
for my $rs (/\b(\w+)\s+utl_smtp\.replies\b/gi) {
    s/\b$rs\s*\(\s*(\w+)\s*\)(?=\s*\.\s*(?:code|text)\b)/${rs}[$1]/gi;
    s/\b$rs\.(?:count|last)\b/cardinality($rs)/gi;
    s/\b$rs\.first\b/1/gi;
}
