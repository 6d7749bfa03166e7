//! Rectangles of given areas that fill a rectangle and are as near to squares as can be.
//!
//! The algorithm is that of Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000): rows along
//! the shorter side, each with as many of the next largest as make its worst ratio better.

use crate::text;

/// A rectangle, in units of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    pub(crate) fn area(&self) -> f64 {
        self.width * self.height
    }

    /// Without a margin on each side and so much at the top; never less than nothing.
    pub(crate) fn inner(&self, margin: f64, top: f64) -> Rect {
        Rect {
            x: self.x + margin,
            y: self.y + top,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - top - margin).max(0.0),
        }
    }
}

/// A rectangle for each size, in order; the sizes come with the largest first.
pub(crate) fn squarify(sizes: &[u64], area: Rect) -> Vec<Rect> {
    let total: f64 = sizes.iter().map(|size| text::float(*size)).sum();
    let mut out = Vec::with_capacity(sizes.len());
    let mut left = area;
    let mut rest = sizes;
    let scale = match total > 0.0 {
        true => area.area() / total,
        false => 0.0,
    };
    while !rest.is_empty() {
        let side = left.width.min(left.height);
        let mut count = 0;
        let mut sum = 0.0;
        let mut worst = f64::INFINITY;
        for size in rest {
            let item = text::float(*size) * scale;
            let longer = sum + item;
            let largest = rest.first().map_or(0.0, |size| text::float(*size) * scale);
            let ratio = worst_ratio(side, longer, largest, item);
            if count > 0 && ratio > worst {
                break;
            }
            (worst, sum, count) = (ratio, longer, count + 1);
        }
        let (row, after) = rest.split_at(count.clamp(1, rest.len()));
        left = lay(row, scale, sum, left, &mut out);
        rest = after;
    }
    out
}

/// The worst ratio of two sides in a row of this area along `side`.
fn worst_ratio(side: f64, sum: f64, largest: f64, smallest: f64) -> f64 {
    if sum <= 0.0 || side <= 0.0 || smallest <= 0.0 {
        return f64::INFINITY;
    }
    let (side, sum) = (side * side, sum * sum);
    (side * largest / sum).max(sum / (side * smallest))
}

/// Lays a row along the shorter side, and gives back what is left.
fn lay(row: &[u64], scale: f64, sum: f64, left: Rect, out: &mut Vec<Rect>) -> Rect {
    let upright = left.width >= left.height;
    let side = if upright { left.height } else { left.width };
    let depth = if side > 0.0 { sum / side } else { 0.0 };
    let mut along = 0.0;
    for size in row {
        let length = if depth > 0.0 {
            text::float(*size) * scale / depth
        } else {
            0.0
        };
        out.push(if upright {
            Rect {
                x: left.x,
                y: left.y + along,
                width: depth,
                height: length,
            }
        } else {
            Rect {
                x: left.x + along,
                y: left.y,
                width: length,
                height: depth,
            }
        });
        along += length;
    }
    if upright {
        Rect {
            x: left.x + depth,
            width: (left.width - depth).max(0.0),
            ..left
        }
    } else {
        Rect {
            y: left.y + depth,
            height: (left.height - depth).max(0.0),
            ..left
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_right_and_the_example_of_the_paper_comes_out() {
        let area = Rect {
            x: 0.0,
            y: 0.0,
            width: 6.0,
            height: 4.0,
        };
        let sizes = [6, 6, 4, 3, 2, 2, 1];
        let rects = squarify(&sizes, area);
        for (size, rect) in sizes.iter().zip(&rects) {
            assert!((rect.area() - text::float(*size)).abs() < 1e-9, "{rect:?}");
            assert!(rect.x + rect.width <= 6.0 + 1e-9 && rect.y + rect.height <= 4.0 + 1e-9);
        }
        assert_eq!((rects[0].width, rects[0].height), (3.0, 2.0));
        assert_eq!((rects[1].x, rects[1].y), (0.0, 2.0));
        assert_eq!(rects[2].x, 3.0);
    }

    #[test]
    fn nothing_and_zeros_are_laid_out_too() {
        let area = Rect {
            x: 0.0,
            y: 0.0,
            width: 0.0,
            height: 9.0,
        };
        assert!(squarify(&[], area).is_empty());
        let rects = squarify(&[5, 0, 0], area);
        assert!(rects.iter().all(|rect| rect.area() == 0.0));
    }
}
