//! The command line of a service. A small tool reads only the variables of the settings that it uses: the
//! others may mean something else, as the `HOST` that conda sets. A flag is meant, and always checked.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Parser};

const ADDRESS: &[&str] = &["host", "port"];
const KEYS: &[&str] = &[
    "jwt_secret",
    "jwt_secret_file",
    "jwt_public_key_file",
    "jwt_issuer",
    "jwt_audience",
    "jwt_require_exp",
];

/// The tools, and the settings that each of them uses.
const TOOLS: [(&str, &[&[&str]]); 5] = [
    ("healthcheck", &[ADDRESS]),
    ("adopt", &[ADDRESS, KEYS, &["admin_token"]]),
    ("dead-letters", &[ADDRESS, KEYS, &["admin_token"]]),
    ("token", &[KEYS]),
    ("backup", &[&["database"]]),
];

/// The arguments with the variables that count for them. Ends the process where they are wrong.
pub fn parse<C: Parser>(arguments: impl IntoIterator<Item = OsString>) -> C {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    // What is wrong is told below; here only the tool and its flags are looked for.
    let looked = C::command().mut_args(without_variable).ignore_errors(true).try_get_matches_from(&arguments);
    let command = C::command().mut_args(|argument| match &looked {
        Ok(matches) => read_by_tool(matches, argument),
        Err(_) => argument,
    });
    let parsed = C::from_arg_matches(&command.get_matches_from(arguments));
    parsed.unwrap_or_else(|error| error.exit())
}

/// The argument, with its variable only if the tool uses it and no flag stands in its place.
fn read_by_tool(matches: &ArgMatches, argument: Arg) -> Arg {
    let tool = TOOLS.iter().find(|(name, _)| matches.subcommand_name() == Some(name));
    let Some((_, used)) = tool else { return argument };
    let id = argument.get_id().as_str();
    let is_flag = matches.value_source(id) == Some(ValueSource::CommandLine);
    let is_used = used.iter().any(|group| group.contains(&id));
    if is_used && !is_flag { argument } else { without_variable(argument) }
}

fn without_variable(argument: Arg) -> Arg {
    argument.env(None::<&str>)
}
