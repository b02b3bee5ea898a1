//! The decisions of `scripts/setup.sh`, without a network: every program that it asks or calls is a
//! stand-in that notes its arguments. What is held is which way is taken, what follows when it
//! fails, and what a person is told when none is left.

#![cfg(unix)]
#![allow(clippy::expect_used, reason = "a test may fail by panic")]

mod instructions;
mod machine;

use machine::{Machine, Ran};
use std::{fs, process::Command};

#[track_caller]
fn assert_ok(ran: &Ran) {
    assert!(ran.ok, "{}\ncalls:\n{}", ran.said, ran.calls);
}

/// The last line is the whole of what a person needs to read.
#[track_caller]
fn assert_last_sentence(ran: &Ran, words: &[&str]) {
    assert!(!ran.ok, "{}", ran.said);
    let last = ran.said.lines().last().unwrap_or_default();
    for word in words {
        assert!(
            last.contains(word),
            "“{word}” is not in: {last}\n{}",
            ran.said
        );
    }
}

#[test]
fn a_rust_that_fits_is_taken_as_it_is() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .rustup(true);
    let ran = machine.with_model().run("build");
    assert_ok(&ran);
    for not in ["rustup ", "apt-get", "cargo install"] {
        assert!(!ran.calls.contains(not), "{not} in {}", ran.calls);
    }
}

#[test]
fn a_rust_without_the_browser_gets_its_library_by_rustup() {
    let machine = Machine::new()
        .rust("bin", "1.89.0")
        .rustup(true)
        .with_model();
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(
        ran.calls
            .contains("rustup target add wasm32-unknown-unknown")
    );
    assert!(!ran.calls.contains("rustup toolchain"), "{}", ran.calls);
}

#[test]
fn an_old_rust_is_left_alone_and_a_newer_one_put_beside_it() {
    let machine = Machine::new()
        .rust("bin", "1.70.0")
        .rustup(true)
        .with_model();
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(!ran.calls.contains("rustup target add"), "{}", ran.calls);
    assert!(ran.calls.contains("rustup toolchain install 1.95.0"));
    assert!(!ran.calls.contains("rustup update") && !ran.calls.contains("rustup default"));
    assert!(
        machine
            .env()
            .contains("toolchains/1.95.0-x86_64-unknown-linux-gnu/bin:")
    );
}

#[test]
fn a_rustup_without_any_toolchain_gets_one() {
    let machine = Machine::new()
        .program("rustc", "echo 'error: no default toolchain' >&2; exit 1")
        .program("cargo", "exit 1")
        .rustup(true)
        .with_model();
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(ran.calls.contains("rustup toolchain install 1.95.0"));
}

#[test]
fn where_rustup_gets_no_answer_debian_is_asked() {
    for old in ["1.95.0", "1.63.0"] {
        let machine = Machine::new()
            .rust("bin", old)
            .rustup(false)
            .debian(true)
            .with_model();
        let ran = machine.run("build");
        assert_ok(&ran);
        assert!(ran.calls.contains("apt-get install"), "{}", ran.calls);
        assert!(
            machine.env().contains("/debian-rust/bin:"),
            "{}",
            machine.env()
        );
    }
}

#[test]
fn a_server_that_curl_does_not_reach_is_not_waited_for() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .rustup(true)
        .reaches(&[])
        .debian(true)
        .with_model();
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(!ran.calls.contains("rustup target"), "{}", ran.calls);
}

#[test]
fn an_empty_debian_without_curl_needs_root_only() {
    let ran = Machine::new().debian(true).with_model().run("build");
    assert_ok(&ran);
    assert!(ran.calls.contains("rustc-web"));
}

#[test]
fn without_root_one_sentence_names_the_packages() {
    let machine = Machine::new().debian(false).with_model();
    assert_last_sentence(
        &machine.run("build"),
        &["sudo apt-get install", "rustc-web", "cargo-web"],
    );

    let machine = Machine::new().debian(false).with_model();
    fs::remove_file(machine.path("bin/cc")).expect("removed");
    let ran = machine.run("build");
    assert_last_sentence(&ran, &["sudo apt-get install gcc libc6-dev", "rustc-web"]);
}

#[test]
fn without_root_and_without_rust_a_rustup_of_our_own_is_used() {
    let machine = Machine::new().debian(false).with_model();
    let toolchain = machine
        .path("tools/rustup/toolchains/1.95.0-x86_64-unknown-linux-gnu/bin")
        .display()
        .to_string();
    let installer = format!(
        "#!/bin/sh\nmkdir -p {toolchain}/wasm; touch {toolchain}/wasm/libstd-1.rlib\n\
         printf '#!/bin/sh\\ncase \"$*\" in *target-libdir*) echo {toolchain}/wasm;; *) echo rustc 1.95.0;; esac\\n' >{toolchain}/rustc\n\
         cp {toolchain}/rustc {toolchain}/cargo; chmod +x {toolchain}/rustc {toolchain}/cargo\n"
    );
    fs::write(machine.path("installer"), installer).expect("written");
    let installer = machine.path("installer").display().to_string();
    let machine = machine.program(
        "curl",
        &format!(
            "case \"$*\" in *--output*rustup-init*https*) cp {installer} \"$(echo \"$*\" | sed 's/.*--output \\([^ ]*\\) .*/\\1/')\";; \
             *static.rust-lang.org*) exit 0;; *) exit 6;; esac"
        ),
    );
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(!ran.calls.contains("apt-get install"), "{}", ran.calls);
    assert!(machine.env().contains(&format!("{toolchain}:")));
}

#[test]
fn where_no_rust_can_be_had_one_sentence_says_where_to_get_it() {
    let ran = Machine::new().with_model().run("build");
    assert_last_sentence(&ran, &["https://rustup.rs", "rustup toolchain install"]);
    let ran = Machine::new()
        .rust("bin", "1.60.0")
        .rustup(false)
        .with_model()
        .run("build");
    assert_last_sentence(&ran, &["https://rustup.rs"]);
}

#[test]
fn debians_rust_alone_is_used_when_it_is_asked_for() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .debian(true)
        .with_model();
    let ran = machine.run_with("build", &[("HEADWATER_RUST", "debian")]);
    assert_ok(&ran);
    assert!(ran.calls.contains("rustc-web"), "{}", ran.calls);
}

#[test]
fn a_first_run_builds_no_tool_with_cargo() {
    for version in ["1.89.0", "1.95.0", "1.99.0"] {
        let machine = Machine::new()
            .rust("bin", version)
            .with_wasm("bin")
            .with_model();
        let ran = machine.run("build");
        assert_ok(&ran);
        assert!(!ran.calls.contains("cargo install"), "{}", ran.calls);
        assert!(ran.calls.contains("npm install"), "wasm-opt: {}", ran.calls);
    }
}

#[test]
fn a_tool_that_the_rust_at_hand_cannot_build_is_built_another_way() {
    let fits = Machine::new()
        .rust("bin", "1.96.0")
        .with_wasm("bin")
        .with_model();
    let ran = fits.run("dev");
    assert_ok(&ran);
    assert!(
        ran.calls
            .contains("cargo install cargo-leptos --version =0.3.11 --locked")
    );

    let too_old = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .with_model();
    let ran = too_old.run("dev");
    assert_ok(&ran);
    assert!(!ran.calls.contains("--locked"), "{}", ran.calls);
    assert!(
        ran.calls
            .contains("cargo install cargo-leptos --version =0.3.11")
    );

    let beside = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .rust("system/bin", "1.96.0")
        .with_model();
    let ran = beside.run("dev");
    assert_ok(&ran);
    assert!(
        ran.calls
            .contains("cargo-leptos --version =0.3.11 --locked"),
        "{}",
        ran.calls
    );
}

#[test]
fn a_tool_that_cannot_be_had_is_one_sentence() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .with_model();
    let machine = machine.program("cargo", "[ \"$1\" != install ]");
    let ran = machine.run("dev");
    assert_last_sentence(&ran, &["cargo install wasm-bindgen-cli", "make run works"]);
}

#[test]
fn a_first_run_goes_on_without_what_it_can_do_without() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .program("npm", "exit 1")
        .program("python3", "exit 1");
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(
        ran.said.contains("starts without it") && ran.said.contains("python3-pip"),
        "{}",
        ran.said
    );
    assert!(ran.said.contains("larger"), "{}", ran.said);
    let ran = machine.run("test");
    assert_last_sentence(&ran, &["built-in model", "python3-pip"]);
}

#[test]
fn a_file_that_is_not_the_model_is_not_kept() {
    let machine = Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .program("python3", "exit 1")
        .program("sha256sum", "echo 0000 x")
        .program(
            "curl",
            "case \"$*\" in *--output*gguf*https*) touch \"$(echo \"$*\" | sed 's/.*--output \\([^ ]*\\) .*/\\1/')\";; *huggingface*) exit 0;; *) exit 6;; esac",
        );
    let ran = machine.run("build");
    assert_ok(&ran);
    assert!(ran.said.contains("sha256 differs"), "{}", ran.said);
    assert!(
        !machine
            .path("tools/models/SmolLM2-135M-Instruct.Q4_1.gguf")
            .exists()
    );
}

/// The Rust that the script accepts must be able to build every crate of the lock file.
#[test]
fn no_crate_needs_a_newer_rust_than_we_ask_for() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let version = |text: &str| -> Vec<u32> {
        text.split('.')
            .map(|part| part.parse().expect("a number"))
            .collect()
    };
    let packages = metadata["packages"].as_array().expect("packages");
    let ours = packages
        .iter()
        .find(|package| package["name"] == "headwater")
        .and_then(|package| package["rust_version"].as_str())
        .expect("rust-version is set");
    for package in packages {
        if let Some(wanted) = package["rust_version"].as_str() {
            let (mut wanted_parts, mut our_parts) = (version(wanted), version(ours));
            wanted_parts.resize(3, 0);
            our_parts.resize(3, 0);
            assert!(
                wanted_parts <= our_parts,
                "{} needs Rust {wanted}",
                package["name"]
            );
        }
    }
}
