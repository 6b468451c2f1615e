//! Whether the `rust-version` that the workspace states is enough for its dependencies. What the project's own code
//! uses of the standard library is held to it by clippy (`incompatible_msrv`).

use std::process::Command;

use serde_json::Value;

use crate::Failure;

/// Fails if a dependency needs a newer Rust than the workspace states.
pub(crate) fn check() -> Result<(), Failure> {
    let arguments = ["metadata", "--format-version", "1", "--locked"];
    let output = Command::new("cargo").args(arguments).current_dir(crate::root()).output();
    let output =
        output.map_err(|source| Failure::Start { command: format!("cargo {}", arguments.join(" ")), source })?;
    if !output.status.success() {
        return Err(Failure::Metadata(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| Failure::Metadata(error.to_string()))?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let packages = packages.ok_or_else(|| Failure::Metadata("there are no packages".to_owned()))?;
    let stated = packages.iter().find(|package| text(package, "name") == Some("seawall"));
    let stated = stated.and_then(|package| text(package, "rust_version"));
    let stated = stated.ok_or_else(|| Failure::Metadata("seawall has no rust-version".to_owned()))?;

    let newer: Vec<String> = packages
        .iter()
        .filter_map(|package| Some((text(package, "name")?, text(package, "rust_version")?)))
        .filter(|(_, version)| parts(version) > parts(stated))
        .map(|(name, version)| format!("{name} ({version})"))
        .collect();
    if newer.is_empty() {
        Ok(())
    } else {
        Err(Failure::RustVersion { stated: stated.to_owned(), needed: newer.join(", ") })
    }
}

fn text<'a>(package: &'a Value, key: &str) -> Option<&'a str> {
    package.get(key)?.as_str()
}

/// `1.89.0` as numbers; `1.89` is the same.
fn parts(version: &str) -> [u32; 3] {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(parts("1.100") > parts("1.89.0"));
        assert_eq!(parts("1.89"), parts("1.89.0"));
    }
}
