//! A table of text: columns as wide as their widest cell, two spaces between them.
//!
//! Pure. Cells are what nodes and their peers say: control characters are escaped, and what is too long for its column
//! is cut in the middle, since names differ at both ends.

use std::fmt;

use crate::line::in_one_line;

/// A column: its title, and how its cells stand in it.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    right: bool,
    widest: usize,
}

/// For names: to the left, and cut to so many characters.
pub const fn name(title: &'static str, widest: usize) -> Column {
    Column { title, right: false, widest }
}

/// For numbers: to the right, and never cut.
pub const fn number(title: &'static str) -> Column {
    Column { title, right: true, widest: usize::MAX }
}

/// Rows under their titles.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell for each column; those that are missing at its end are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().zip(&self.columns);
        self.rows.push(cells.map(|(cell, column)| fit(&in_one_line(&cell), column.widest)).collect());
    }

    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines without the titles, for what explains itself.
    pub fn without_titles(&self) -> String {
        self.lines(&self.rows.iter().collect::<Vec<_>>())
    }

    fn lines(&self, rows: &[&Vec<String>]) -> String {
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let cells = row.iter().zip(&self.columns).zip(widths);
        let cells =
            cells.map(
                |((cell, column), width)| {
                    if column.right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            );
        let line = cells.collect::<Vec<_>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

/// The titles and the rows, each line with its end.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        let rows: Vec<&Vec<String>> = std::iter::once(&titles).chain(&self.rows).collect();
        f.write_str(&self.lines(&rows))
    }
}

/// The text, or its two ends.
pub fn fit(text: &str, widest: usize) -> String {
    let length = text.chars().count();
    if length <= widest {
        return text.to_owned();
    }
    let kept = widest.saturating_sub(1);
    let start = text.chars().take(kept.div_ceil(2));
    let end = text.chars().skip(length - kept / 2);
    start.chain(['…']).chain(end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&[name("group", 16), number("gets"), name("why", 16)]);
        table.row(row(&["scores", "9", ""]));
        table.row(row(&["c", "12345", "µs"]));
        table.row(row(&["short"]));
        assert_eq!(
            table.to_string(),
            "group    gets  why\n\
             scores      9\n\
             c       12345  µs\n\
             short\n"
        );
        assert_eq!(table.without_titles(), "scores      9\nc       12345  µs\nshort\n");
    }

    #[test]
    fn what_others_say_is_cut_to_its_column_and_escaped() {
        let mut table = Table::new(&[name("", 9), name("", 20)]);
        table.row(row(&["http://one.example:8001", "a\x1b[2J\n"]));
        assert_eq!(table.without_titles(), "http…8001  a\\u{1b}[2J\\n\n");
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abc…fg");
        assert_eq!(fit("abcdefg", 1), "…");
    }
}
