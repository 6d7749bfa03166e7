//! opam files: parse, print, switch exports, version order, comparison.
