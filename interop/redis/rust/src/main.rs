//! redis-rs runs the common script: `carrot-redis-rs PROTOCOL <cases >replies`, a line of JSON each; see
//! ../../README.md.

#![forbid(unsafe_code)]

use anyhow::Context;
use redis::{
    Client, Commands, Connection, ConnectionLike, ExistenceCheck, Expiry, InfoDict, Pipeline, RedisError,
    ScanOptions, SetExpiry, SetOptions, Value,
};
use serde_json::{Value as Json, json};

fn main() -> anyhow::Result<()> {
    let protocol = std::env::args().nth(1).context("usage: carrot-redis-rs PROTOCOL")?;
    for line in std::io::stdin().lines() {
        let replies = replies(&protocol, &serde_json::from_str(&line?)?)?;
        println!("{}", Json::Array(replies));
    }
    Ok(())
}

fn replies(protocol: &str, case: &Json) -> anyhow::Result<Vec<Json>> {
    let password = case["password"].as_str().map_or_else(String::new, |password| format!(":{password}@"));
    let client =
        Client::open(format!("redis://{password}127.0.0.1:{}/?protocol=resp{protocol}", case["port"]))?;
    let mut connection = match client.get_connection() {
        Ok(connection) => connection,
        Err(error) => return Ok(vec![refused(&error)]),
    };
    let steps = case["steps"].as_array().context("a case has steps")?;
    steps.iter().map(|step| run(&mut connection, step)).collect()
}

fn run(connection: &mut Connection, step: &Json) -> anyhow::Result<Json> {
    let reply = match step[0].as_str() {
        Some(kind @ ("pipeline" | "transaction")) => {
            let mut pipeline = Pipeline::new();
            if kind == "transaction" {
                pipeline.atomic();
            }
            for each in step[1].as_array().context("a list of steps")? {
                pipeline.add_command(command(each)?);
            }
            // Else one that failed would stand for all.
            pipeline.ignore_errors().query::<Vec<Value>>(connection).map(Value::Array)
        }
        Some("scan") => return scan(connection, &step[1]),
        Some("version") => {
            let info: InfoDict = redis::cmd("INFO").arg("server").query(connection)?;
            return Ok(json!(info.get::<String>("redis_version")));
        }
        Some("get") => connection.get(bytes(&step[1])),
        Some("set") => connection.set_options(bytes(&step[1]), bytes(&step[2]), options(&step[3])),
        Some("mget") => connection.mget(all_bytes(step)),
        Some("ttl") => connection.ttl(bytes(&step[1])),
        Some("delete") => connection.del(all_bytes(step)),
        Some("setnx") => connection.set_nx(bytes(&step[1]), bytes(&step[2])),
        Some("exists") => connection.exists(all_bytes(step)),
        Some("expire") if step.get(3).is_none() => {
            connection.expire(bytes(&step[1]), step[2].as_i64().context("a number of seconds")?)
        }
        Some("persist") => connection.persist(bytes(&step[1])),
        Some("getex") => connection.get_ex(bytes(&step[1]), expiry(&step[2])),
        Some("strlen") => connection.strlen(bytes(&step[1])),
        // As it came, where a query would take one error in a list for all of it.
        Some("raw") => connection.req_command(&command(step)?),
        Some("config_get") => {
            redis::cmd("CONFIG").arg("GET").arg(bytes(&step[1])).query(connection).map(Value::Map)
        }
        _ => command(step)?.query(connection),
    };
    Ok(reply.map_or_else(|error| refused(&error), told))
}

/// The command of a step, for what is sent as it is written.
fn command(step: &Json) -> anyhow::Result<redis::Cmd> {
    let name = step[0].as_str().context("a step has a name")?;
    let names: &[&str] = match name {
        "raw" => &[],
        "delete" => &["DEL"],
        "client_setname" => &["CLIENT", "SETNAME"],
        "client_getname" => &["CLIENT", "GETNAME"],
        name => &[name],
    };
    let mut command = redis::Cmd::new();
    for name in names {
        command.arg(*name);
    }
    for word in step.as_array().context("a step is a list")?.iter().skip(1) {
        match word {
            Json::Object(_) if name == "set" => command.arg(options(word)),
            // Conditions of EXPIRE.
            Json::Object(conditions) => {
                command.arg(conditions.keys().map(|name| name.to_uppercase()).collect::<Vec<_>>())
            }
            word => command.arg(bytes(word)),
        };
    }
    Ok(command)
}

/// The option of GETEX.
fn expiry(told: &Json) -> Expiry {
    match (told["ex"].as_u64(), told["px"].as_u64()) {
        (Some(seconds), _) => Expiry::EX(seconds),
        (_, Some(milliseconds)) => Expiry::PX(milliseconds),
        _ => Expiry::PERSIST,
    }
}

/// The options of SET.
fn options(told: &Json) -> SetOptions {
    let is = |name: &str| told[name].as_bool().unwrap_or(false);
    let mut options = SetOptions::default().get(is("get"));
    if let Some(seconds) = told["ex"].as_u64() {
        options = options.with_expiration(SetExpiry::EX(seconds));
    }
    if let Some(milliseconds) = told["px"].as_u64() {
        options = options.with_expiration(SetExpiry::PX(milliseconds));
    }
    if is("keepttl") {
        options = options.with_expiration(SetExpiry::KEEPTTL);
    }
    if is("nx") {
        options = options.conditional_set(ExistenceCheck::NX);
    }
    if is("xx") {
        options = options.conditional_set(ExistenceCheck::XX);
    }
    options
}

fn scan(connection: &mut Connection, told: &Json) -> anyhow::Result<Json> {
    let mut options = ScanOptions::default();
    if let Some(pattern) = told["match"].as_str() {
        options = options.with_pattern(pattern);
    }
    if let Some(count) = told["count"].as_u64() {
        options = options.with_count(usize::try_from(count)?);
    }
    let keys = connection.scan_options::<Vec<u8>>(options)?.collect::<Result<Vec<_>, _>>()?;
    let mut keys: Vec<String> = keys.iter().map(|key| text(key)).collect();
    keys.sort();
    Ok(json!(keys))
}

/// Bytes are written as text in the common script, one character each.
fn bytes(word: &Json) -> Vec<u8> {
    match word.as_str() {
        Some(text) => text.chars().map(|character| character as u8).collect(),
        None => word.to_string().into_bytes(),
    }
}

fn all_bytes(step: &Json) -> Vec<Vec<u8>> {
    step.as_array().map_or_else(Vec::new, |words| words.iter().skip(1).map(bytes).collect())
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A reply as the common script has it.
fn told(reply: Value) -> Json {
    match reply {
        Value::Nil => Json::Null,
        Value::Okay => json!("OK"),
        Value::Int(number) => json!(number),
        Value::SimpleString(text) => json!(text),
        Value::BulkString(bytes) => json!(text(&bytes)),
        Value::VerbatimString { text, .. } => json!(text),
        Value::Array(all) | Value::Set(all) => all.into_iter().map(told).collect(),
        Value::Map(pairs) => pairs
            .into_iter()
            .map(|(name, value)| (told(name).as_str().unwrap_or_default().to_owned(), told(value)))
            .collect(),
        Value::ServerError(error) => refused(&error.into()),
        other => json!(format!("{other:?}")),
    }
}

fn refused(error: &RedisError) -> Json {
    let words = [error.code(), error.detail()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    json!({ "error": if words.is_empty() { error.to_string() } else { words } })
}
