//! The forms of Ollama's address.

/// Ollama's default port.
const PORT: &str = "11434";

/// The address for a value of `OLLAMA_HOST`, as Ollama itself reads it.
///
/// The default port is Ollama's for a host without a scheme, and otherwise that of the scheme. A
/// server that listens on all addresses (`0.0.0.0`) is reached on this machine.
///
/// ```
/// # use headwater_engine::provider::ollama::host_url;
/// assert_eq!(host_url(""), "http://127.0.0.1:11434");
/// assert_eq!(host_url("0.0.0.0"), "http://127.0.0.1:11434");
/// assert_eq!(host_url("gpu.example:80"), "http://gpu.example:80");
/// assert_eq!(host_url("https://gpu.example"), "https://gpu.example");
/// ```
pub fn host_url(host: &str) -> String {
    let host = host.trim().trim_matches(['"', '\'']).trim();
    let (scheme, rest, port) = match host.split_once("://") {
        Some((scheme, rest)) => (scheme, rest, ""),
        None => ("http", host, PORT),
    };
    let (place, path) = match rest.split_once('/') {
        Some((place, path)) => (place, path.trim_end_matches('/')),
        None => (rest, ""),
    };
    let (user, place) = match place.rsplit_once('@') {
        Some((user, place)) => (user, place),
        None => ("", place),
    };
    let (name, own_port) = split(place);
    // Ollama ignores a port that is not a number.
    let port = match own_port.parse::<u16>() {
        Ok(_) => own_port,
        Err(_) => port,
    };
    let name = match name.as_str() {
        "" | "0.0.0.0" | "[::]" => "127.0.0.1",
        name => name,
    };
    let mut url = format!("{scheme}://");
    if !user.is_empty() {
        url.push_str(user);
        url.push('@');
    }
    url.push_str(name);
    for (sign, part) in [(':', port), ('/', path)] {
        if !part.is_empty() {
            url.push(sign);
            url.push_str(part);
        }
    }
    url
}

/// Splits host and port; either may be empty. An IPv6 address gets its brackets.
fn split(place: &str) -> (String, &str) {
    if let Some((inside, behind)) = place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        return (
            format!("[{inside}]"),
            behind.strip_prefix(':').unwrap_or(""),
        );
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => (format!("[{place}]"), ""),
        Some((name, port)) => (name.into(), port),
        None => (place.into(), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::host_url;

    #[test]
    fn every_form_of_the_address_is_understood() {
        for (host, url) in [
            ("", "http://127.0.0.1:11434"),
            ("  ", "http://127.0.0.1:11434"),
            ("localhost", "http://localhost:11434"),
            ("\"localhost\"", "http://localhost:11434"),
            ("10.0.0.5", "http://10.0.0.5:11434"),
            ("10.0.0.5:8080", "http://10.0.0.5:8080"),
            (":8080", "http://127.0.0.1:8080"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("0.0.0.0:8080", "http://127.0.0.1:8080"),
            ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
            ("::", "http://127.0.0.1:11434"),
            ("[::]:8080", "http://127.0.0.1:8080"),
            ("::1", "http://[::1]:11434"),
            ("[::1]", "http://[::1]:11434"),
            ("[::1]:1", "http://[::1]:1"),
            ("http://gpu", "http://gpu"),
            ("http://gpu:11434/", "http://gpu:11434"),
            ("https://gpu.example", "https://gpu.example"),
            ("https://gpu.example/ollama/", "https://gpu.example/ollama"),
            ("gpu.example/ollama", "http://gpu.example:11434/ollama"),
            ("me:word@gpu", "http://me:word@gpu:11434"),
            ("https://me@gpu:1/x", "https://me@gpu:1/x"),
            ("gpu:no", "http://gpu:11434"),
            ("gpu:66000", "http://gpu:11434"),
        ] {
            assert_eq!(host_url(host), url, "{host:?}");
        }
    }
}
