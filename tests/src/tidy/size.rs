//! Sizes and letters: lines a file, lines a function, ASCII, and no `unwrap` outside tests.

use super::scan::{behind_item, reads};
use super::{Finding, Source};

/// Most lines in a file: what does not fit is two rooms in one.
const FILE_LINES_MAX: usize = 500;
/// Most lines in a function, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Calls that end the process where an error could have been returned.
const PANICKING: [&str; 4] = ["unwrap", "expect", "unwrap_err", "expect_err"];

/// Checks the sizes, the letters and the `unwrap`s of one file.
pub(super) fn check(source: &Source, is_test: bool, findings: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(source.finding(lines, "file-size", format!("{lines} lines")));
    }
    for (line, text) in (1..).zip(source.text.lines()) {
        if let Some(letter) = text.chars().find(|letter| !letter.is_ascii()) {
            findings.push(source.finding(line, "ascii", format!("{:?}", letter.escape_unicode())));
        }
    }
    functions(source, findings);
    if !is_test {
        panics(source, findings);
    }
}

fn functions(source: &Source, findings: &mut Vec<Finding>) {
    let tokens = &source.tokens;
    for (at, pair) in tokens.windows(2).enumerate() {
        let [word, name] = pair else { continue };
        // `fn(` is a type, not a function.
        if word.text != "fn" || name.text == "(" {
            continue;
        }
        let last = behind_item(tokens, at).saturating_sub(1);
        let lines = tokens.get(last).map_or(0, |end| end.line + 1 - word.line);
        if lines > FUNCTION_LINES_MAX {
            let what = format!("fn {} has {lines} lines", name.text);
            findings.push(source.finding(word.line, "function-size", what));
        }
    }
}

fn panics(source: &Source, findings: &mut Vec<Finding>) {
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| !token.test) {
        for call in PANICKING {
            if reads(&source.tokens, at, &[".", call, "("]) {
                findings.push(source.finding(token.line, "unwrap", format!(".{call}()")));
            }
        }
    }
}
