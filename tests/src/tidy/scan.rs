//! Cuts Rust into tokens: words, `::`, and single other characters. Comments vanish, a literal becomes one `"`, a
//! lifetime vanishes. Each token knows its line and whether it stands in an item under `#[cfg(test)]`.

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Its text; `"` for any string or character literal.
    pub(super) text: String,
    /// Its line, from 1.
    pub(super) line: usize,
    /// Does it stand in an item that is compiled for tests only?
    pub(super) test: bool,
}

/// What stands for a literal.
const LITERAL: &str = "\"";

/// The tokens of `text`.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut scanner = Scanner { chars: text.chars().collect(), at: 0, line: 1, out: Vec::new() };
    while scanner.step() {}
    let mut out = scanner.out;
    mark_tests(&mut out);
    out
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn emit(&mut self, text: &str, line: usize) {
        self.out.push(Token { text: text.to_owned(), line, test: false });
    }

    /// Takes one token, comment or space; false at the end.
    fn step(&mut self) -> bool {
        let line = self.line;
        let Some(first) = self.peek(0) else { return false };
        match (first, self.peek(1)) {
            ('/', Some('/')) => {
                while self.peek(0).is_some_and(|next| next != '\n') {
                    self.bump();
                }
            }
            ('/', Some('*')) => self.block_comment(),
            ('"', _) => self.string(line),
            ('\'', _) => self.quote(line),
            (':', Some(':')) => {
                self.at += 2;
                self.emit("::", line);
            }
            _ if first.is_alphanumeric() || first == '_' => self.word(line),
            _ => {
                self.bump();
                if !first.is_whitespace() {
                    self.emit(&first.to_string(), line);
                }
            }
        }
        true
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// A string with escapes; stands at its opening quote.
    fn string(&mut self, line: usize) {
        self.bump();
        while let Some(next) = self.bump() {
            match next {
                '\\' => _ = self.bump(),
                '"' => break,
                _ => {}
            }
        }
        self.emit(LITERAL, line);
    }

    /// A character literal or a lifetime; stands at the quote.
    fn quote(&mut self, line: usize) {
        self.bump();
        if self.peek(0) == Some('\\') {
            self.at += 2;
            while self.bump().is_some_and(|next| next != '\'') {}
            self.emit(LITERAL, line);
        } else if self.peek(1) == Some('\'') {
            self.bump();
            self.bump();
            self.emit(LITERAL, line);
        } else {
            while self.peek(0).is_some_and(|next| next.is_alphanumeric() || next == '_') {
                self.bump();
            }
        }
    }

    /// A word, or the prefix of a literal and that literal.
    fn word(&mut self, line: usize) {
        let mut word = String::new();
        while let Some(next) = self.peek(0).filter(|c| c.is_alphanumeric() || *c == '_') {
            word.push(next);
            self.bump();
        }
        let hashes = (0..).take_while(|&ahead| self.peek(ahead) == Some('#')).count();
        let opens = self.peek(hashes) == Some('"');
        match word.as_str() {
            "r" | "br" | "cr" if opens => self.raw_string(hashes, line),
            "b" | "c" if opens && hashes == 0 => self.string(line),
            "b" if self.peek(0) == Some('\'') => self.quote(line),
            _ => self.emit(&word, line),
        }
    }

    /// A raw string that `hashes` marks guard; stands at the first of them.
    fn raw_string(&mut self, hashes: usize, line: usize) {
        self.at += hashes + 1;
        while let Some(next) = self.bump() {
            if next == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                break;
            }
        }
        self.emit(LITERAL, line);
    }
}

/// The index just behind the bracket that closes the one at `open`.
pub(super) fn behind_closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The index behind the item that begins at `at`: behind its body, or its semicolon.
pub(super) fn behind_item(tokens: &[Token], mut at: usize) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            ";" => return at + 1,
            "{" => return behind_closing(tokens, at),
            "(" | "[" => at = behind_closing(tokens, at),
            _ => at += 1,
        }
    }
    tokens.len()
}

/// Do the tokens at `at` read as `words`?
pub(super) fn reads(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    let Some(rest) = tokens.get(at..at + words.len()) else { return false };
    rest.iter().zip(words).all(|(token, word)| token.text == *word)
}

fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        if reads(tokens, at, &["#", "!", "["]) && is_test_attribute(tokens, at + 2) {
            tokens.iter_mut().for_each(|token| token.test = true);
            return;
        }
        if !(reads(tokens, at, &["#", "["]) && is_test_attribute(tokens, at + 1)) {
            at += 1;
            continue;
        }
        let mut end = at;
        while reads(tokens, end, &["#", "["]) {
            end = behind_closing(tokens, end + 1);
        }
        end = behind_item(tokens, end);
        tokens.iter_mut().take(end).skip(at).for_each(|token| token.test = true);
        at = end;
    }
}

/// Is the attribute whose `[` stands at `open` a `cfg` that only a test build meets?
fn is_test_attribute(tokens: &[Token], open: usize) -> bool {
    if reads(tokens, open + 1, &["test", "]"]) {
        return true;
    }
    if reads(tokens, open + 1, &["cfg", "(", "test", ")", "]"]) {
        return true;
    }
    let end = behind_closing(tokens, open);
    reads(tokens, open + 1, &["cfg", "(", "all", "("])
        && (open + 5..end).any(|at| {
            reads(tokens, at, &["test"]) && !reads(tokens, at.saturating_sub(2), &["not", "("])
        })
}
