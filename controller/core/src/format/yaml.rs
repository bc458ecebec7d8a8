//! The layout of block YAML, line by line.

/// Columns a level.
const STEP: usize = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Map,
    List,
}

/// A block that is open: where it stands, and where it is to stand.
#[derive(Debug, Clone, Copy)]
struct Level {
    kind: Kind,
    from: usize,
    to: usize,
}

#[derive(Debug, Default)]
struct Layout {
    out: String,
    open: Vec<Level>,
    /// Comments and one empty line, which belong to what follows them.
    waiting: Vec<String>,
    /// Brackets that are open at the end of the line before.
    brackets: usize,
    /// Lines deeper than this are the text of a block scalar.
    block_text: Option<usize>,
    /// How far the last line was moved: what continues it moves with it.
    moved: isize,
}

pub(super) fn layout(text: &str) -> String {
    let mut layout = Layout::default();
    for line in text.lines() {
        layout.line(line.trim_end());
    }
    layout.settle(None);
    while layout.out.ends_with("\n\n") {
        layout.out.pop();
    }
    layout.out
}

impl Layout {
    fn line(&mut self, line: &str) {
        let content = line.trim_start_matches(' ');
        let column = line.len() - content.len();
        if let Some(parent) = self.block_text {
            if content.is_empty() || column > parent {
                return self.continued(column, content);
            }
            self.block_text = None;
        }
        if content.is_empty() {
            if self.brackets == 0 && self.waiting.last().is_none_or(|last| !last.is_empty()) {
                self.waiting.push(String::new());
            }
            return;
        }
        if self.brackets > 0 {
            self.continued(column, content);
            self.brackets = brackets(content, self.brackets);
            return;
        }
        if content.starts_with('#') {
            self.waiting.push(content.to_owned());
            return;
        }
        self.structural(column, content);
    }

    fn structural(&mut self, column: usize, content: &str) {
        let to = self.enter(column, kind_of(content));
        self.settle(Some(to));
        let mut line = " ".repeat(to);
        let (mut rest, mut from, mut to_here) = (content, column, to);
        // A list's item may begin another block on its own line.
        while let Some(item) = rest.strip_prefix('-').filter(|r| r.is_empty() || r.starts_with(' '))
        {
            let inner = item.trim_start_matches(' ');
            from += rest.len() - inner.len();
            to_here += STEP;
            line.push_str(if inner.is_empty() { "-" } else { "- " });
            rest = inner;
            if let Some(kind) = block(rest) {
                self.open.push(Level { kind, from, to: to_here });
            }
        }
        line.push_str(rest);
        self.put(&line);
        self.moved = to as isize - column as isize;
        self.brackets = brackets(rest, 0);
        let bare = without_comment(rest).trim_end();
        let ending = bare.rsplit(' ').next().unwrap_or_default();
        let scalar = ending.starts_with(['|', '>']) && ending.len() <= 3;
        self.block_text = scalar.then_some(column);
    }

    /// Opens and closes blocks until one fits; returns where the line is to stand.
    fn enter(&mut self, column: usize, kind: Kind) -> usize {
        while let Some(top) = self.open.last() {
            let ended = top.from > column
                || (top.from == column && top.kind == Kind::List && kind == Kind::Map);
            if !ended {
                break;
            }
            self.open.pop();
        }
        match self.open.last() {
            Some(top) if top.from == column && top.kind == kind => top.to,
            above => {
                let to = above.map_or(0, |above| above.to + STEP);
                self.open.push(Level { kind, from: column, to });
                to
            }
        }
    }

    fn continued(&mut self, column: usize, content: &str) {
        if content.is_empty() {
            return self.put("");
        }
        let column = column.saturating_add_signed(self.moved);
        self.put(&format!("{}{content}", " ".repeat(column)));
    }

    /// Writes what waited: before a line where that stands, at the end where the document begins.
    fn settle(&mut self, to: Option<usize>) {
        let indent = " ".repeat(to.unwrap_or(0));
        for line in std::mem::take(&mut self.waiting) {
            match line.as_str() {
                "" if self.out.is_empty() => {}
                "" => self.put(""),
                comment => self.put(&format!("{indent}{comment}")),
            }
        }
    }

    fn put(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

fn kind_of(content: &str) -> Kind {
    if content == "-" || content.starts_with("- ") { Kind::List } else { Kind::Map }
}

/// What block begins here; none: a scalar, or brackets.
fn block(content: &str) -> Option<Kind> {
    if kind_of(content) == Kind::List {
        return Some(Kind::List);
    }
    let plain = !content.starts_with(['{', '[', '"', '\'', '#']);
    let bare = without_comment(content);
    (plain && (bare.contains(": ") || bare.trim_end().ends_with(':'))).then_some(Kind::Map)
}

fn without_comment(content: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in content.char_indices() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if !before.is_alphanumeric() => quote = Some(c),
            (None, '#') if before == ' ' => return &content[..at],
            _ => {}
        }
        before = c;
    }
    content
}

/// Brackets that are open after this text.
fn brackets(content: &str, mut open: usize) -> usize {
    let mut quote = None;
    for c in without_comment(content).chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => open += 1,
            (None, ']' | '}') => open = open.saturating_sub(1),
            _ => {}
        }
    }
    open
}
