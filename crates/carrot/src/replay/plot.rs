//! Miss-ratio curves as a picture: a panel for each trace, a line for each policy, capacities on a logarithmic axis.
//!
//! One drawing for both formats. A PNG has two dots for each of an SVG's, for screens that show as many.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, IntoFont, RGBColor, ShapeStyle, WHITE};

use crate::amount::count;
use crate::replay::axis::{Axis, capacity_at, place};
use crate::replay::driver::{Curves, Outcome};
use crate::replay::font::{self, FAMILY};
use crate::replay::policy::Policy;
use crate::table::fit;

/// A panel, in an SVG's dots; one that stands alone is larger.
const PANEL: (u32, u32) = (400, 330);
const ALONE: (u32, u32) = (720, 440);
/// The most panels in a row.
const ACROSS: usize = 3;
/// The longest name of a trace in a heading.
const NAME: usize = 24;
/// Dots of a PNG for one of an SVG.
const PNG_SCALE: u32 = 2;

/// A file to draw into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlotFile {
    path: PathBuf,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Png,
}

/// A name that says no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plot is a file NAME.svg or NAME.png")]
pub struct BadPlotFile;

impl FromStr for PlotFile {
    type Err = BadPlotFile;
    fn from_str(text: &str) -> Result<Self, BadPlotFile> {
        let path = PathBuf::from(text);
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => Format::Svg,
            Some("png") => Format::Png,
            _ => return Err(BadPlotFile),
        };
        Ok(Self { path, format })
    }
}

impl PlotFile {
    /// Draws the curves into the file, in place of what was there.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn draw(&self, curves: &[Curves]) -> anyhow::Result<()> {
        font::register()?;
        let drawn = match self.format {
            Format::Svg => svg(curves).and_then(|text| Ok(fs::write(&self.path, text)?)),
            Format::Png => png(curves, &self.path),
        };
        drawn.with_context(|| format!("plot {}", self.path.display()))
    }
}

fn svg(curves: &[Curves]) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, size(curves.len())).into_drawing_area(), curves, 1)?;
    Ok(text)
}

fn png(curves: &[Curves], file: &Path) -> anyhow::Result<()> {
    let (width, height) = size(curves.len());
    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let mut dots = vec![0; width as usize * height as usize * 3];
    draw(&BitMapBackend::with_buffer(&mut dots, (width, height)).into_drawing_area(), curves, PNG_SCALE)?;
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(file)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&dots)?;
    Ok(writer.finish()?)
}

/// Panels in a row, and rows.
fn grid(panels: usize) -> (usize, usize) {
    // Four are better in two rows of two than in three and one.
    let across = if panels == 4 { 2 } else { panels.clamp(1, ACROSS) };
    (across, panels.div_ceil(across))
}

fn size(panels: usize) -> (u32, u32) {
    let (across, down) = grid(panels);
    let (width, height) = if panels == 1 { ALONE } else { PANEL };
    (width * across as u32, height * down as u32)
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    curves: &[Curves],
    scale: u32,
) -> anyhow::Result<()> {
    // The errors of a backend borrow from it; what they say does not.
    panels(area, curves, scale).map_err(|error| anyhow!("{error}"))
}

fn panels<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    curves: &[Curves],
    scale: u32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.fill(&WHITE)?;
    let (across, down) = grid(curves.len());
    for (panel, curves) in area.split_evenly((down, across)).iter().zip(curves) {
        panel_of(panel, curves, scale)?;
    }
    area.present()
}

fn panel_of<B: DrawingBackend>(
    panel: &DrawingArea<B, Shift>,
    curves: &Curves,
    scale: u32,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let text = |size: u32| (FAMILY, size * scale).into_font();
    let axis = Axis::over(curves.outcomes.iter().map(|outcome| outcome.cell.capacity), curves.weigh);
    let keys = count(curves.unique);
    let title = format!("{}: {} requests, {keys} keys", fit(&curves.trace, NAME), count(curves.requests));
    let mut chart = ChartBuilder::on(panel)
        .margin(10 * scale)
        .margin_right(20 * scale)
        .caption(title, text(17))
        .x_label_area_size(48 * scale)
        .y_label_area_size(68 * scale)
        .build_cartesian_2d(axis, Axis::of_ratios())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225).stroke_width(1))
        .axis_style(RGBColor(90, 90, 90).stroke_width(scale))
        .label_style(text(15))
        .axis_desc_style(text(16))
        .x_desc(format!("capacity ({})", curves.weigh.measure()))
        .y_desc("miss ratio")
        .x_label_formatter(&|place| curves.weigh.amount(capacity_at(*place)))
        .y_label_formatter(&|ratio| format!("{:.0} %", ratio * 100.0))
        .draw()?;
    for line in lines(curves) {
        let Look { color, width, radius } = line.look();
        let stroke = color.stroke_width(width * scale);
        let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), stroke))?;
        let length = 24 * scale as i32;
        drawn
            .label(line.policy.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + length, y)], stroke));
        let filled = ShapeStyle::from(color).filled();
        chart.draw_series(line.points.iter().map(|&point| Circle::new(point, radius * scale, filled)))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .margin(8 * scale)
        .legend_area_size(30 * scale)
        .label_font(text(16))
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.25))
        .draw()?;
    Ok(())
}

/// One policy's curve.
struct Line {
    policy: Policy,
    /// Places on the axis and miss ratios, from the smallest capacity.
    points: Vec<(f64, f64)>,
}

/// How a line is drawn.
struct Look {
    color: RGBColor,
    width: u32,
    radius: u32,
}

impl Line {
    /// Blue and orange of Okabe and Ito, which the colour-blind can tell apart too. Blue is thinner and above, so that both
    /// are seen where they are one.
    fn look(&self) -> Look {
        match self.policy {
            Policy::Default => Look { color: RGBColor(0, 114, 178), width: 2, radius: 3 },
            Policy::Lru => Look { color: RGBColor(230, 159, 0), width: 4, radius: 4 },
        }
    }
}

/// The curves of the trace, in the order in which they are drawn: the default last, above the others.
fn lines(curves: &Curves) -> Vec<Line> {
    let of = |policy: Policy| {
        let outcomes = curves.outcomes.iter().filter(|outcome| outcome.cell.policy == policy);
        let mut points: Vec<_> = outcomes.filter_map(|outcome| point(curves, outcome)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { policy, points }
    };
    [Policy::Lru, Policy::Default].map(of).into_iter().filter(|line| !line.points.is_empty()).collect()
}

fn point(curves: &Curves, outcome: &Outcome) -> Option<(f64, f64)> {
    let missed = (curves.requests - outcome.hits) as f64 / curves.requests as f64;
    Some((place(outcome.cell.capacity)?, missed))
}
