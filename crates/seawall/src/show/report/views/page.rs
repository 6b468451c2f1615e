//! A view as people read it.

use seawall_engine::units::counted;

use super::{Column, ViewSummary};
use crate::show::log::Screen;
use crate::show::log::page::{Page, QUIET, padded, width};
use crate::show::text::cut_middle;

/// What a column of text has at least.
const TEXT_COLUMNS_MIN: usize = 8;

/// The view as text.
pub fn render(view: &ViewSummary, screen: Screen) -> String {
    let columns = screen.columns.clamp(40, 240);
    let mut page = Page::new(Screen { columns, ..screen });
    page.inputs(&view.inputs);
    if let Some(filter) = &view.filter {
        page.sentence("filter", filter);
    }
    page.totals(&view.totals);
    page.line("");
    page.heading(view.title(), &counted(view.rows.len() as u64, "row"));
    for note in &view.notes {
        page.sentence("", note);
    }
    if !view.rows.is_empty() {
        let widths = widths(view, columns.saturating_sub(2));
        let titles = view.columns.iter().map(|column| column.title);
        let heading = line(view, &widths, titles);
        let heading = page.styled(QUIET, heading.trim_end());
        page.line(&format!("  {heading}"));
        for row in &view.rows {
            let cells = line(view, &widths, row.cells.iter().map(|cell| cell.label.as_str()));
            page.line(&format!("  {cells}"));
        }
    }
    page.unread(&view.unread, view.totals.lines);
    page.text
}

/// The columns of each column: numbers as wide as they are, texts what is left, each in proportion to what it needs. A column that
/// has no title has none.
fn widths(view: &ViewSummary, room: usize) -> Vec<usize> {
    let needed = |(number, column): (usize, &Column)| {
        let cells = view.rows.iter().filter_map(|row| row.cells.get(number)).map(|cell| width(&cell.label));
        if column.title.is_empty() { 0 } else { cells.chain([width(column.title)]).max().unwrap_or(0) }
    };
    let mut widths: Vec<usize> = view.columns.iter().enumerate().map(needed).collect();
    loop {
        let used: usize =
            widths.iter().filter(|width| **width > 0).map(|width| width + 2).sum::<usize>().saturating_sub(2);
        let Some(excess @ 1..) = used.checked_sub(room) else { return widths };
        // The widest text gives way first; when all are as narrow as may be, the last column that is shown is left out.
        let texts = widths.iter_mut().zip(&view.columns).filter(|(_, column)| column.gives_way);
        match texts.map(|(width, _)| width).filter(|width| **width > TEXT_COLUMNS_MIN).max() {
            Some(widest) => *widest -= excess.min(widest.saturating_sub(TEXT_COLUMNS_MIN)).clamp(1, 4),
            None => match widths.iter_mut().rev().find(|width| **width > 0) {
                Some(last) => *last = 0,
                None => return widths,
            },
        }
    }
}

fn line<'a>(view: &ViewSummary, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> String {
    let cells = cells.zip(&view.columns).zip(widths).filter(|(_, columns)| **columns > 0);
    let cells = cells.map(|((text, column), columns)| {
        let text = cut_middle(text, *columns);
        if column.is_number {
            format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
        } else {
            padded(&text, *columns)
        }
    });
    cells.collect::<Vec<_>>().join("  ")
}
