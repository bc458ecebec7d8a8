//! Colours and tables.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub colours: bool,
    /// Fit tables to the terminal.
    pub fit: bool,
}

/// What a cell says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shade {
    Plain,
    Good,
    Middling,
    Bad,
    Faint,
}

impl Style {
    pub fn good(&self, text: &str) -> String {
        self.painted(text, "32")
    }

    pub fn bad(&self, text: &str) -> String {
        self.painted(text, "31")
    }

    pub fn faint(&self, text: &str) -> String {
        self.painted(text, "2")
    }

    pub fn strong(&self, text: &str) -> String {
        self.painted(text, "1")
    }

    pub fn middling(&self, text: &str) -> String {
        self.painted(text, "33")
    }

    /// No colour: it is shown where colours are not wanted, too.
    pub fn reversed(&self, text: &str) -> String {
        format!("\u{1b}[7m{text}\u{1b}[0m")
    }

    fn painted(&self, text: &str, sgr: &str) -> String {
        if self.colours { format!("\u{1b}[{sgr}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub fn table(&self, header: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_content_arrangement(if self.fit {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        });
        if self.colours {
            table.enforce_styling();
        } else if !self.fit {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|name| self.cell(name, Shade::Faint)));
        table.column_iter_mut().for_each(|column| {
            column.set_padding((0, 2));
        });
        table
    }

    /// What came from elsewhere has no control characters in it.
    pub fn cell(&self, text: &str, shade: Shade) -> Cell {
        let cell = Cell::new(clean(text));
        if !self.colours {
            return cell;
        }
        match shade {
            Shade::Plain => cell,
            Shade::Good => cell.fg(Color::Green),
            Shade::Middling => cell.fg(Color::Yellow),
            Shade::Bad => cell.fg(Color::Red),
            Shade::Faint => cell.add_attribute(Attribute::Dim),
        }
    }

    /// Without blanks at the ends of lines.
    pub fn finish(&self, table: &Table) -> String {
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        lines.join("\n")
    }
}

/// Text from elsewhere without what a terminal would obey.
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
