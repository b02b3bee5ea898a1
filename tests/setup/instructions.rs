//! What the instruction budgets are counted with: how it is had, and what is said where it cannot be.

use crate::{assert_last_sentence, assert_ok, machine::Machine};

const NOT_CHECKED: &str = "the instruction budgets will not be checked";

/// A machine that has all that comes before. Its Node.js is too old, and so is the one in the tools
/// folder, so that the set-up ends behind it, without a network.
fn machine() -> Machine {
    Machine::new()
        .rust("bin", "1.95.0")
        .with_wasm("bin")
        .with_model()
        .program_in("tools/binaryen-132/bin", "wasm-opt", "exit 0")
        .program("node", "echo v1.0.0")
        .program_in("tools/node-22.20.0/bin", "node", "echo v1.0.0")
}

/// Debian, where installing valgrind makes it appear.
fn with_debian(machine: Machine, root: bool) -> Machine {
    let bin = machine.path("bin").display().to_string();
    let install = format!("case \"$*\" in *install*valgrind*) cp {bin}/cc {bin}/valgrind;; esac");
    machine.debian(root).program("apt-get", &install)
}

/// The version of a crate in the lock file.
fn locked(name: &str) -> String {
    let lock = include_str!("../../Cargo.lock");
    let (_, rest) = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .expect("a crate of ours");
    rest.split('"').next().expect("a version").to_owned()
}

#[test]
fn valgrind_comes_from_debian_and_the_runner_from_crates_in_the_version_of_its_crate() {
    let machine = with_debian(machine(), true);
    let ran = machine.run("test");
    // The set-up went on.
    assert_last_sentence(&ran, &["Node.js"]);
    let install = format!(
        "cargo install gungraun-runner --version ={} --locked",
        locked("gungraun-runner")
    );
    assert!(ran.calls.contains(&install), "{}", ran.calls);
    assert!(!ran.said.contains(NOT_CHECKED), "{}", ran.said);
    let bin = format!("gungraun-runner-{}/bin:", locked("gungraun-runner"));
    assert!(machine.env().contains(&bin), "{}", machine.env());

    let again = machine.run("test").calls[ran.calls.len()..].to_owned();
    assert!(!again.contains("cargo install"), "{again}");
    assert!(!again.contains("valgrind"), "{again}");
}

#[test]
fn a_release_of_the_runner_is_tried_before_its_source() {
    let ran = machine()
        .program("valgrind", "exit 0")
        .reaches(&["github.com"])
        .run("test");
    let version = locked("gungraun-runner");
    let release = format!("/v{version}/gungraun-runner-v{version}-x86_64-unknown-linux-gnu.tar.gz");
    let asked = ran.calls.find(&release).expect("asked for");
    let built = ran.calls.find("cargo install gungraun-runner");
    assert!(built.is_some_and(|built| asked < built), "{}", ran.calls);
}

#[test]
fn without_valgrind_one_sentence_says_what_is_not_checked_and_the_set_up_goes_on() {
    let plain = machine();
    let no_root = with_debian(machine(), false);
    let not_in_debian = machine().debian(true).program(
        "apt-get",
        "case \"$*\" in *install*valgrind*) exit 100;; esac",
    );
    let mac = machine().program("uname", "case $1 in -s) echo Darwin;; *) echo arm64;; esac");
    for machine in [plain, no_root, not_in_debian, mac] {
        let ran = machine.run("test");
        assert_eq!(ran.said.matches(NOT_CHECKED).count(), 1, "{}", ran.said);
        assert!(!ran.calls.contains("install gungraun-runner"));
        assert_last_sentence(&ran, &["Node.js"]);
    }
}

/// Installed, it would start a server on a port that may be somebody's.
#[test]
fn nginx_is_unpacked_and_not_installed() {
    let unpack = "mkdir -p $3/usr/sbin && cp $(dirname $0)/cc $3/usr/sbin/nginx";
    let machine = with_debian(machine(), false)
        .program(
            "apt-get",
            "case $1 in download) : >nginx_1_amd64.deb;; esac",
        )
        .program("dpkg-deb", unpack);
    let ran = machine.run("test");
    assert!(
        ran.calls.contains("apt-get download --quiet nginx"),
        "{}",
        ran.calls
    );
    assert!(!ran.calls.contains("install nginx"), "{}", ran.calls);
    assert!(
        machine.env().contains("HEADWATER_TEST_NGINX="),
        "{}\n{}",
        machine.env(),
        ran.said
    );
    let again = machine.run("test").calls[ran.calls.len()..].to_owned();
    assert!(!again.contains("apt-get download"), "{again}");
    let without = self::machine().run("test");
    assert_eq!(
        without.said.matches("nginx could not be had").count(),
        1,
        "{}",
        without.said
    );
    assert_last_sentence(&without, &["Node.js"]);
}

#[test]
fn without_the_runner_one_sentence_says_what_is_not_checked_and_the_set_up_goes_on() {
    let machine = machine()
        .program("valgrind", "exit 0")
        .program("cargo", "[ \"$1\" != install ]");
    let ran = machine.run("test");
    assert!(ran.calls.contains("cargo install gungraun-runner"));
    assert_eq!(ran.said.matches(NOT_CHECKED).count(), 1, "{}", ran.said);
    assert_last_sentence(&ran, &["Node.js"]);
}

/// A machine where `cargo bench` prints what gungraun prints.
fn counting(status: u8, tail: &str) -> Machine {
    let counts = format!(
        "cat <<'end'
instructions::instructions::decode openai:(openai())
  Instructions:                                   29151274|29151274             (No change)
instructions::instructions::fold answer:(log())
  Instructions:                                     255784|N/A                  (*********)
{tail}
end
exit {status}"
    );
    Machine::new()
        .with("cat")
        .with("awk")
        .program("valgrind", "exit 0")
        .program("gungraun-runner", "exit 0")
        .program("cargo", &counts)
}

#[test]
fn every_benchmark_is_a_line_with_the_count_for_each_token() {
    let ran = counting(0, "").script("instructions.sh", &["--features", "local"]);
    assert_ok(&ran);
    assert_eq!(
        ran.printed,
        "instructions: decode openai        29151 for each token\n\
         instructions: fold                   256 for each token\n"
    );
    let bench = "cargo bench --no-fail-fast --features local --bench instructions";
    assert!(ran.calls.contains(bench), "{}", ran.calls);
}

#[test]
fn what_is_over_its_budget_is_named_and_fails() {
    let tail = "Regressions:

  instructions::instructions::fold answer:
    Callgrind: Instructions (255784): 255784 exceeds limit of 200000 by 55784";
    let ran = counting(101, tail).script("instructions.sh", &[]);
    assert!(!ran.ok);
    let last = ran.printed.lines().last();
    assert_eq!(last, Some("instructions: fold is over its budget of 200"));
}

#[test]
fn where_nothing_can_be_counted_one_sentence_says_so() {
    let arm = counting(1, "").program("uname", "echo aarch64");
    for machine in [Machine::new(), arm] {
        let ran = machine.script("instructions.sh", &[]);
        assert_ok(&ran);
        assert_eq!(ran.printed.lines().count(), 1, "{}", ran.printed);
        assert!(ran.printed.contains("not checked"), "{}", ran.printed);
        assert!(!ran.calls.contains("cargo"), "{}", ran.calls);
    }
}
