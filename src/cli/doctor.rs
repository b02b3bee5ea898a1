//! `headwater doctor`: checks the installation and prints one line per check; with an address, the way to a server.

mod connection;

use super::logging;
use crate::server::config::Config;
use headwater_engine::{
    db, files,
    lock::{self, Holder},
    log::JOURNAL,
    registry::Registry,
};
use headwater_protocol::{Error, ErrorCode};

pub(super) use connection::check;

pub(super) async fn doctor(config: Config) -> Result<(), Error> {
    logging::init(config.log_format, "error");
    let mut bad = 0;
    let mut say = |good: bool, text: String| {
        bad += u32::from(!good);
        println!("{} {text}", if good { "ok  " } else { "BAD " });
    };
    match lock::take(&config.engine.data) {
        Ok(Holder::Us(_)) => say(
            true,
            format!("data folder {}", config.engine.data.display()),
        ),
        Ok(Holder::Other(address)) => {
            say(
                true,
                format!(
                    "data folder {}, in use by {address}",
                    config.engine.data.display()
                ),
            );
        }
        Err(why) => say(false, why.message),
    }
    #[cfg(unix)]
    for path in open_to_others(&config.engine.data) {
        say(
            false,
            format!(
                "{0} can be read by others on this machine; `chmod go= {0}` closes it",
                path.display()
            ),
        );
    }
    match tokio::net::TcpListener::bind(config.addr).await {
        Ok(_) => say(true, format!("address {} is free", config.addr)),
        Err(why) => say(false, format!("address {}: {why}", config.addr)),
    }
    #[cfg(feature = "local")]
    match &config.engine.model {
        Some(path) => match headwater_engine::provider::local::LocalProvider::check(path) {
            Ok(_) => say(true, format!("built-in model {}", path.display())),
            Err(why) => say(false, why.message),
        },
        None => say(true, "built-in model switched off".into()),
    }
    match Registry::new(&config.engine) {
        Ok(registry) => {
            let catalog = registry.catalog().await;
            say(
                !catalog.models.is_empty(),
                format!("{} models", catalog.models.len()),
            );
            for problem in catalog.problems() {
                say(false, problem.to_owned());
            }
        }
        Err(why) => say(false, why.message),
    }
    verdict(bad)
}

/// The end of a check.
fn verdict(bad: u32) -> Result<(), Error> {
    match bad {
        0 => Ok(()),
        1 => Err(Error::new(ErrorCode::InvalidRequest, "One thing is wrong.")),
        many => Err(Error::new(
            ErrorCode::InvalidRequest,
            format!("{many} things are wrong."),
        )),
    }
}

/// The data folder and those of its files that other users of this machine can read.
#[cfg(unix)]
fn open_to_others(data: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = db::FILES
        .iter()
        .chain([&JOURNAL])
        .map(|name| data.join(name));
    std::iter::once(data.to_owned())
        .chain(files)
        .filter(|path| {
            std::fs::metadata(path).is_ok_and(|metadata| files::open_to_others(&metadata))
        })
        .collect()
}
