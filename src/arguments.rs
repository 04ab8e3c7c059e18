//! How long a text argument may be: it is refused before it is fetched or copied.

use smtp_core::limits;

/// Octets of an argument, in the database's encoding.
pub fn longest(argument: &str) -> usize {
    match argument {
        "host" | "host1" | "host2" | "domain" | "secure_host" => limits::HOST_ARGUMENT,
        "wallet_path" => limits::WALLET_PATH,
        "username" | "password" | "wallet_password" => limits::SECRET,
        "schemes" => limits::SCHEMES,
        // A line of an AUTH exchange may be that long; the others are cut shorter once their verb is known.
        "cmd" | "arg" => limits::AUTH_LINE - 2,
        _ => limits::COMMAND_LINE,
    }
}
