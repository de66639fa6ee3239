//! Bar charts as SVG, written by hand: a bar, a whisker from the least to the most, a figure. No library draws less.

use std::fmt::Write as _;

/// Bars side by side with others of their kind, under one title.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) bars: Vec<Bar>,
    /// Bars for more than this are cut short, and marked.
    pub(crate) longest: f64,
}

impl Panel {
    /// Empty; no bar is too long for it.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), bars: Vec::new(), longest: f64::INFINITY }
    }
}

/// One bar, to the left of the axis if it is below 0.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: f64,
    /// What is written at its end.
    pub(crate) text: String,
    /// The least and the most that was measured, where it was measured more than once.
    pub(crate) spread: Option<(f64, f64)>,
    pub(crate) hue: Hue,
}

/// What a bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hue {
    Ours,
    Anchor,
    /// No cache, but what bounds one.
    Bound,
    /// A difference in our favour.
    Ahead,
    /// A difference in another's.
    Behind,
}

impl Hue {
    fn colour(self) -> &'static str {
        match self {
            Self::Ours | Self::Ahead => "#e8730c",
            Self::Anchor => "#7d90a8",
            Self::Bound => "#c9d0d9",
            Self::Behind => "#9b2d20",
        }
    }
}

// In pixels. Room for the longest label at 7 for a character, and for the figure behind the longest bar.
const LABELS: f64 = 180.0;
const LENGTH: f64 = 220.0;
const FIGURES: f64 = 60.0;
const STEP: f64 = 20.0;
const THICK: f64 = 14.0;
const TOP: f64 = 36.0;
const WIDTH: f64 = LABELS + LENGTH + FIGURES;

/// The panels in one picture, from left to right.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let rows = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    let (width, height) = (WIDTH * panels.len() as f64, TOP + STEP * rows as f64 + 8.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
    );
    for (at, panel) in panels.iter().enumerate() {
        draw(&mut svg, panel, WIDTH * at as f64);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, left: f64) {
    let shown = |value: f64| f64::min(value, panel.longest);
    let ends = panel.bars.iter().flat_map(|bar| {
        let (least, most) = bar.spread.unwrap_or((bar.value, bar.value));
        [least, most, bar.value].map(shown)
    });
    let (least, most) =
        ends.fold((0.0, 0.0), |(least, most), end| (f64::min(least, end), f64::max(most, end)));
    let scale = LENGTH / if most > least { most - least } else { 1.0 };
    // Where there are bars to the left, their figures need room there too.
    let room = if least < 0.0 { FIGURES } else { 0.0 };
    let x = |value: f64| left + LABELS + room + (value - least) * scale * (LENGTH - room) / LENGTH;
    text(svg, left + 10.0, 20.0, "start", "bold", &panel.title);
    for (row, bar) in panel.bars.iter().enumerate() {
        let top = TOP + STEP * row as f64;
        let (from, to) = (x(f64::min(bar.value, 0.0)), x(f64::max(shown(bar.value), 0.0)));
        let base = top + THICK - 3.0;
        let weight = if bar.hue == Hue::Ours { "bold" } else { "normal" };
        text(svg, left + LABELS - 8.0, base, "end", weight, &bar.label);
        rect(svg, [from, top, to - from, THICK], bar.hue.colour());
        let mut end = if bar.value < 0.0 { from } else { to };
        if let Some((least, most)) = bar.spread {
            let (least, most) = (shown(least), shown(most));
            rect(svg, [x(least), top + THICK / 2.0 - 0.5, x(most) - x(least), 1.0], "#222");
            end = f64::max(end, x(most));
        }
        let (at, anchor) = if bar.value < 0.0 { (end - 5.0, "end") } else { (end + 5.0, "start") };
        let cut = if bar.value > panel.longest { "» " } else { "" };
        text(svg, at, base, anchor, "normal", &format!("{cut}{}", bar.text));
    }
    let height = STEP * panel.bars.len() as f64;
    rect(svg, [x(0.0) - 0.5, TOP - 4.0, 1.0, height + 4.0], "#222");
}

fn rect(svg: &mut String, [x, y, width, height]: [f64; 4], fill: &str) {
    let shape = format!("x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"");
    writeln!(svg, "<rect {shape} fill=\"{fill}\"/>").expect("a String takes all");
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, weight: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    writeln!(svg, "<text {place} font-weight=\"{weight}\">{text}</text>").expect("a String takes all");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(value: f64) -> Bar {
        Bar { label: "a < b".to_owned(), value, text: value.to_string(), spread: None, hue: Hue::Anchor }
    }

    fn panel(bars: Vec<Bar>) -> Panel {
        Panel { bars, ..Panel::new("none") }
    }

    #[test]
    fn a_bar_that_is_too_long_is_cut_and_says_so() {
        let svg = svg(&[Panel { longest: 2.0, ..panel(vec![bar(800.0), bar(1.0)]) }]);
        assert!(svg.contains("width=\"220.0\"") && svg.contains("width=\"110.0\""), "{svg}");
        assert!(svg.contains(">» 800</text>"));
    }

    #[test]
    fn the_longest_bar_fills_the_panel_and_others_are_in_proportion() {
        let svg = svg(&[panel(vec![bar(8.0), bar(2.0)])]);
        assert!(svg.contains("width=\"220.0\"") && svg.contains("width=\"55.0\""), "{svg}");
        assert!(svg.contains(">a &lt; b</text>"));
    }

    #[test]
    fn what_is_below_0_lies_left_of_the_axis() {
        let svg = svg(&[panel(vec![bar(-1.0), bar(1.0)])]);
        // 160 pixels are left for both: the first from 240, the second from 320.
        assert!(svg.contains("x=\"240.0\"") && svg.contains("x=\"320.0\""), "{svg}");
    }

    #[test]
    fn a_panel_of_nothing_but_0_is_drawn() {
        let svg = svg(&[panel(vec![bar(0.0)])]);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
