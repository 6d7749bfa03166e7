//! A finished build: its vocabulary and its DER form, read and written as a stream.
