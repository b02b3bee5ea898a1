//! A machine made of stand-ins.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Programs of the system that decide nothing.
const PLAIN: &[&str] = &[
    "bash", "basename", "chmod", "cksum", "cmp", "cp", "cut", "dirname", "env", "find", "grep",
    "head", "ln", "mkdir", "mv", "rm", "sed", "sort", "touch", "tr",
];

/// A machine made of stand-ins.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
}

/// What a run of the script left.
pub(crate) struct Ran {
    pub(crate) ok: bool,
    /// What a person read.
    pub(crate) said: String,
    /// What it printed on standard output.
    pub(crate) printed: String,
    /// Every call of a stand-in, a line each.
    pub(crate) calls: String,
}

impl Machine {
    /// A Linux machine with a C compiler, Node.js, and nothing else: no Rust, no network.
    pub(crate) fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        for folder in ["bin", "home", "system/bin"] {
            fs::create_dir_all(machine.path(folder)).expect("made");
        }
        PLAIN.iter().fold(machine, |machine, name| machine.with(name))
            .program("uname", "case $1 in -s) echo Linux;; *) echo x86_64;; esac")
            .program("id", "echo 1000")
            .program("cc", "exit 0")
            .program("node", "echo v22.0.0")
            // What it installs is there afterwards.
            .program("npm", "while [ $# -gt 0 ]; do [ \"$1\" = --prefix ] && mkdir -p \"$2/node_modules/.bin\" && touch \"$2/node_modules/.bin/wasm-opt\" && chmod +x \"$2/node_modules/.bin/wasm-opt\"; shift; done; exit 0")
    }

    /// A program of the machine that the tests run on.
    pub(crate) fn with(self, name: &str) -> Self {
        let real = find(name).unwrap_or_else(|| panic!("{name} is on this machine"));
        symlink(real, self.path("bin").join(name)).expect("linked");
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A stand-in on PATH; every call is noted.
    pub(crate) fn program(self, name: &str, body: &str) -> Self {
        self.program_in("bin", name, body)
    }

    pub(crate) fn program_in(self, place: &str, name: &str, body: &str) -> Self {
        let path = self.path(place).join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let calls = self.path("calls");
        let text = format!(
            "#!{}\nprintf '%s\\n' \"{name} $*\" >>'{}'\n{body}\n",
            find("sh").expect("a shell").display(),
            calls.display()
        );
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        self
    }

    /// A Rust in a folder. Its library for the browser is there once `wasm` is.
    pub(crate) fn rust(self, place: &str, version: &str) -> Self {
        let libraries = self.path(place).join("wasm");
        let rustc = format!(
            "case \"$*\" in *target-libdir*) echo '{}';; *) echo 'rustc {version} (1 2)';; esac",
            libraries.display()
        );
        // `cargo install` leaves the program that it was asked for.
        let cargo = "if [ \"$1\" = install ]; then crate=$2; while [ $# -gt 0 ]; do [ \"$1\" = --root ] && mkdir -p \"$2/bin\" && touch \"$2/bin/$crate\" && chmod +x \"$2/bin/$crate\"; shift; done; fi; exit 0";
        self.program_in(place, "rustc", &rustc)
            .program_in(place, "cargo", cargo)
    }

    /// Gives the Rust in a folder its library for the browser.
    pub(crate) fn with_wasm(self, place: &str) -> Self {
        let libraries = self.path(place).join("wasm");
        fs::create_dir_all(&libraries).expect("made");
        fs::write(libraries.join("libstd-1.rlib"), "").expect("written");
        self
    }

    /// A rustup. `works`: whether its server answers.
    pub(crate) fn rustup(self, works: bool) -> Self {
        let bin = self.path("bin").display().to_string();
        let toolchain = self.path("home/.rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu/bin");
        let toolchain = toolchain.display();
        let body = if works {
            format!(
                "case $1 in target) mkdir -p {bin}/wasm; touch {bin}/wasm/libstd-1.rlib;; \
                 toolchain) mkdir -p {toolchain}/wasm; touch {toolchain}/wasm/libstd-1.rlib; \
                 printf '#!/bin/sh\\ncase \"$*\" in *target-libdir*) echo {toolchain}/wasm;; *) echo rustc 1.95.0;; esac\\n' >{toolchain}/rustc; \
                 cp {toolchain}/rustc {toolchain}/cargo; chmod +x {toolchain}/rustc {toolchain}/cargo;; esac"
            )
        } else {
            "echo 'error: could not download' >&2; exit 1".to_owned()
        };
        self.program("rustup", &body)
    }

    /// Debian, as root or not. Installing its Rust makes it appear.
    pub(crate) fn debian(self, root: bool) -> Self {
        let system = self.path("system").display().to_string();
        let rustc = format!(
            "case \"$*\" in *target-libdir*) echo {system}/wasm;; *) echo rustc 1.96.0;; esac"
        );
        let body = format!(
            "case \"$*\" in *install*rustc-web*) mkdir -p {system}/wasm {system}/lib/rustlib/src; \
             touch {system}/wasm/libstd-1.rlib; \
             printf '%s\\n' '#!/bin/sh' '{rustc}' >{system}/bin/rustc; \
             for tool in cargo cargo-clippy rust-lld; do cp {system}/bin/rustc {system}/bin/$tool; done; \
             chmod +x {system}/bin/*;; esac"
        );
        self.program("apt-get", &body)
            .program("apt-cache", "exit 0")
            .program("id", if root { "echo 0" } else { "echo 1000" })
    }

    /// A network: `curl` answers for hosts whose address contains one of these.
    pub(crate) fn reaches(self, hosts: &[&str]) -> Self {
        let patterns: Vec<String> = hosts.iter().map(|host| format!("*{host}*")).collect();
        let patterns = if patterns.is_empty() {
            "no-host-at-all".to_owned()
        } else {
            patterns.join("|")
        };
        self.program(
            "curl",
            &format!("case \"$*\" in {patterns}) exit 0;; *) exit 6;; esac"),
        )
    }

    /// The model is there already, so that nothing is fetched for it.
    pub(crate) fn with_model(self) -> Self {
        let models = self.path("tools/models");
        fs::create_dir_all(&models).expect("made");
        fs::write(models.join("SmolLM2-135M-Instruct.Q4_1.gguf"), "").expect("written");
        self
    }

    /// Runs the script, with these stand-ins as the only programs there are.
    pub(crate) fn run(&self, command: &str) -> Ran {
        self.run_with(command, &[])
    }

    /// The same with variables that a person may set.
    pub(crate) fn run_with(&self, command: &str, variables: &[(&str, &str)]) -> Ran {
        self.ran(&self.output("setup.sh", &[command], variables))
    }

    /// Runs another script.
    pub(crate) fn script(&self, name: &str, arguments: &[&str]) -> Ran {
        self.ran(&self.output(name, arguments, &[]))
    }

    fn ran(&self, output: &Output) -> Ran {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        Ran {
            ok: output.status.success(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            printed: String::from_utf8_lossy(&output.stdout).into_owned(),
            calls,
        }
    }

    /// The lines that put the tools on PATH.
    pub(crate) fn env(&self) -> String {
        String::from_utf8_lossy(&self.output("setup.sh", &["env"], &[]).stdout).into_owned()
    }

    fn output(&self, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        Command::new(self.path("bin/bash"))
            .arg(scripts.join(script))
            .args(arguments)
            .env_clear()
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("HEADWATER_TOOLS", self.path("tools"))
            .env("HEADWATER_SYSTEM", self.path("system"))
            .envs(variables.iter().copied())
            .output()
            .expect("the script runs")
    }
}

/// A program of the machine that the tests run on.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
