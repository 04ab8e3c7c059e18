//! Signatures, which are declared in `sql/install` and again in `src/api`. A different type would
//! break memory safety.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;
use syn::parse::Parser;
use syn::punctuated::Punctuated;

/// A function as declared on one side.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    arguments: Vec<(String, String)>,
    /// The type, or the columns of a record, with names if there are any.
    results: Vec<(String, String)>,
    returns_set: bool,
}

/// The SQL types that a Rust type may represent. Add new types here after checking them.
fn sql_types(rust: &str) -> &'static [&'static str] {
    match rust {
        "Bytes" => &["text", "bytea"],
        "Text" | "TextBuffer" => &["text"],
        "TextArray" | "Vec<Text>" | "Vec<String>" | "Vec<Option<String>>" => &["text[]"],
        "bool" => &["boolean"],
        "i32" => &["integer"],
        "i64" => &["bigint"],
        "Oid" => &["oid"],
        "Inet" => &["inet"],
        "TimestampWithTimeZone" => &["timestamp with time zone"],
        "Internal" => &["internal"],
        "RecordArray" => &["utl_mail.attachment[]"],
        // Of dkim_sign only: a result that is a datum already.
        "Value" => &["bytea"],
        "Handle" | "ConnectionRow" => &["utl_smtp.connection"],
        "ReplyRow" => &["utl_smtp.reply"],
        "ReplyRows" => &["utl_smtp.replies"],
        "()" => &["void"],
        other => panic!("no SQL type is known for {other}"),
    }
}

/// Removes paths and lifetimes: `Option<Vec<Text>>`.
fn type_name(of: &syn::Type) -> String {
    match of {
        syn::Type::Path(path) => {
            let last = path.path.segments.last().unwrap();
            let parameters: Vec<String> = type_parameters(last).map(type_name).collect();
            match parameters.is_empty() {
                true => last.ident.to_string(),
                false => format!("{}<{}>", last.ident, parameters.join(", ")),
            }
        }
        syn::Type::Tuple(tuple) if tuple.elems.is_empty() => "()".to_owned(),
        _ => panic!("a type of a kind that the test does not know"),
    }
}

fn type_parameters(segment: &syn::PathSegment) -> impl Iterator<Item = &syn::Type> {
    let parameters = match &segment.arguments {
        syn::PathArguments::AngleBracketed(list) => Some(&list.args),
        _ => None,
    };
    parameters
        .into_iter()
        .flatten()
        .filter_map(|one| match one {
            syn::GenericArgument::Type(one) => Some(one),
            _ => None,
        })
}

/// `Option<T>` as T, and whether it was an Option.
fn required(name: &str) -> (&str, bool) {
    let inner = name
        .strip_prefix("Option<")
        .and_then(|rest| rest.strip_suffix('>'));
    (inner.unwrap_or(name), inner.is_none())
}

/// The columns of `ResultSet<Row>`, whose row is the file's `type Row = (name!(a, T), …)`; `None`
/// for any other type.
fn columns(returned: &syn::Type, row: Option<&syn::Type>) -> Option<Vec<(String, String)>> {
    if type_name(returned) != "ResultSet<Row>" {
        return None;
    }
    let Some(syn::Type::Tuple(row)) = row else {
        panic!("a set of no row");
    };
    let column = |one: &syn::Type| {
        let syn::Type::Macro(named) = one else {
            panic!("a column without name!()");
        };
        let parts = Punctuated::<syn::Type, syn::Token![,]>::parse_terminated
            .parse2(named.mac.tokens.clone())
            .unwrap();
        (type_name(&parts[0]), type_name(&parts[1]))
    };
    Some(row.elems.iter().map(column).collect())
}

/// Each `#[pg_extern]` function below `src`, with the Rust types of its arguments and results.
fn in_rust() -> BTreeMap<String, Signature> {
    let mut found = BTreeMap::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let items = syn::parse_file(&source).unwrap().items;
            let row = items.iter().find_map(|item| match item {
                syn::Item::Type(alias) if alias.ident == "Row" => Some(&*alias.ty),
                _ => None,
            });
            for item in &items {
                let syn::Item::Fn(function) = item else {
                    continue;
                };
                let is_extern = |one: &syn::Attribute| one.path().is_ident("pg_extern");
                if function.attrs.iter().any(is_extern) {
                    let name = function.sig.ident.to_string();
                    let twice = found.insert(name, rust_signature(&function.sig, row));
                    assert!(twice.is_none(), "{}: {twice:?}", path.display());
                }
            }
        }
    }
    found
}

fn rust_signature(signature: &syn::Signature, row: Option<&syn::Type>) -> Signature {
    let argument = |one: &syn::FnArg| {
        let syn::FnArg::Typed(one) = one else {
            panic!("self");
        };
        let syn::Pat::Ident(name) = &*one.pat else {
            panic!("a pattern");
        };
        (name.ident.to_string(), type_name(&one.ty))
    };
    let unnamed = |name: &str| (String::new(), name.to_owned());
    let (results, returns_set) = match &signature.output {
        syn::ReturnType::Default => (vec![unnamed("()")], false),
        syn::ReturnType::Type(_, returned) => match columns(returned, row) {
            Some(columns) => (columns, true),
            None => match type_name(returned).as_str() {
                // PostgreSQL compares the columns at each call.
                "OwnersRows" => (Vec::new(), true),
                "OpenRow" => {
                    let column = |name: &str, of: &str| (name.to_owned(), of.to_owned());
                    (
                        vec![column("c", "ConnectionRow"), column("reply", "ReplyRow")],
                        false,
                    )
                }
                other => (vec![unnamed(other)], false),
            },
        },
    };
    Signature {
        arguments: signature.inputs.iter().map(argument).collect(),
        results,
        returns_set,
    }
}

/// The functions of the extension in the library, by symbol, and whether each is STRICT.
fn in_sql(session: &mut Session) -> BTreeMap<String, (Signature, bool)> {
    session.run("SET search_path = pg_catalog");
    let rows = session
        .query(
            "SELECT p.prosrc, p.proisstrict, p.proretset, format_type(p.prorettype, NULL),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, k) ORDER BY k),
                    ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proallargtypes, p.proargmodes)
                                                               WITH ORDINALITY AS a (t, m, k)
                          WHERE m <> 'i' ORDER BY k),
                    coalesce(p.proargnames, '{}')
               FROM pg_proc AS p
               JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
               JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname IN ('utl_smtp', 'utl_mail')
               JOIN pg_language AS l ON l.oid = p.prolang AND l.lanname = 'c'",
            &[],
        )
        .unwrap();
    let mut found = BTreeMap::new();
    for row in &rows {
        let (given, made): (Vec<String>, Vec<String>) = (row.get(4), row.get(5));
        let mut names = row.get::<_, Vec<String>>(6).into_iter();
        let arguments = given
            .into_iter()
            .map(|of| (names.next().unwrap_or_default(), of));
        let arguments = arguments.collect();
        let results = match made.is_empty() {
            true => vec![(String::new(), row.get(3))],
            false => names.by_ref().zip(made).collect(),
        };
        let signature = Signature {
            arguments,
            results,
            returns_set: row.get(2),
        };
        let symbol: String = row.get(0);
        let twice = found.insert(symbol.clone(), (signature, row.get(1)));
        assert!(twice.is_none(), "{symbol} is used twice");
    }
    found
}

/// The errors in the SQL declaration of one function. `prefix`: the library may return more
/// columns.
fn faults(rust: &Signature, sql: &Signature, is_strict: bool, prefix: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let mut compare = |rust: &[(String, String)], sql: &[(String, String)]| {
        for ((rust_name, rust_type), (sql_name, sql_type)) in rust.iter().zip(sql) {
            if !sql_types(required(rust_type).0).contains(&sql_type.as_str()) {
                faults.push(format!(
                    "{rust_name}: {rust_type} is declared {sql_name} {sql_type}"
                ));
            }
            if !rust_name.is_empty() && rust_name != sql_name {
                faults.push(format!("{rust_name} is declared as {sql_name}"));
            }
        }
    };
    compare(&rust.arguments, &sql.arguments);
    compare(&rust.results, &sql.results);
    let is_checked_at_run_time = rust.returns_set && rust.results.is_empty();
    let spare = match is_checked_at_run_time {
        true => Some(0),
        false => rust.results.len().checked_sub(sql.results.len()),
    };
    if rust.arguments.len() != sql.arguments.len() {
        faults.push("another number of arguments".to_owned());
    }
    if spare.is_none() || spare > Some(0) && !prefix {
        faults.push("another number of columns".to_owned());
    }
    if rust.returns_set != sql.returns_set {
        faults.push("a set on one side only".to_owned());
    }
    if !is_strict && rust.arguments.iter().any(|(_, of)| required(of).1) {
        faults.push("can't take NULL and is not STRICT".to_owned());
    }
    faults
}

#[test]
fn every_function_is_declared_in_sql_as_it_is_in_rust() {
    let rust = in_rust();
    let database = Database::new();
    let mut session = database.superuser();
    session.run("CREATE EXTENSION utl_mail");
    let sql = in_sql(&mut session);
    let symbols: BTreeMap<String, &Signature> = rust
        .iter()
        .map(|(name, signature)| (format!("{name}_wrapper"), signature))
        .collect();
    assert!(
        symbols.keys().eq(sql.keys()),
        "in Rust {:?}, in SQL {:?}",
        symbols.keys(),
        sql.keys()
    );
    assert!(sql.len() > 30, "{}", sql.len());
    for (symbol, (declared, is_strict)) in &sql {
        let faults = faults(symbols[symbol], declared, *is_strict, false);
        assert!(faults.is_empty(), "{symbol}: {faults:?}");
    }
}

/// The library is installed before ALTER EXTENSION … UPDATE runs, so it must serve the declarations
/// of older versions, which may lack the last columns of a table.
#[test]
fn released_versions_declare_what_the_library_still_takes() {
    let rust = in_rust();
    let database = Database::empty("");
    let mut session = database.superuser();
    let versions = session
        .query(
            "SELECT version FROM pg_available_extension_versions WHERE name = 'utl_smtp'",
            &[],
        )
        .unwrap();
    for version in versions.iter().map(|row| row.get::<_, String>(0)) {
        session.run(&format!("CREATE EXTENSION utl_smtp VERSION '{version}'"));
        for (symbol, (declared, is_strict)) in in_sql(&mut session) {
            // Of a routine that was removed only the symbol is left, which takes anything.
            if let Some(signature) = rust.get(symbol.trim_end_matches("_wrapper")) {
                let faults = faults(signature, &declared, is_strict, true);
                assert!(faults.is_empty(), "{version}, {symbol}: {faults:?}");
            }
        }
        session.run("DROP EXTENSION utl_smtp");
    }
}
