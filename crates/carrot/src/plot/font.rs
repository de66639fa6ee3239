//! The letters of a plot: DejaVu Sans, the part of it that Western texts need.
//!
//! Compiled in, so that a plot looks alike on every machine and can be drawn on one that has no fonts. An SVG asks for
//! any sans-serif font of whoever looks at it; ours then only tells how wide a text will be. data/README.md says where
//! the font comes from.

use anyhow::anyhow;
use plotters::style::{FontStyle, register_font};

/// The family that plots ask for.
pub const FAMILY: &str = "sans-serif";

const DEJAVU: &[u8] = include_bytes!("../../data/dejavu-sans.ttf");

/// Makes the letters known to the plots of this process.
pub fn register() -> anyhow::Result<()> {
    register_font(FAMILY, FontStyle::Normal, DEJAVU).map_err(|_| anyhow!("the font of plots cannot be read"))
}
