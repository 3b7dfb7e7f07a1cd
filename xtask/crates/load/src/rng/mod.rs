//! The random numbers of the Python tool, to the bit.
//!
//! The tool draws lengths, offsets and arrival gaps from numpy's legacy generator and shuffles
//! with CPython's; both are the Mersenne Twister, seeded and read in different ways. Groups by rank
//! come from numpy's newer generator. Nothing else in this crate may draw a number, and the order of
//! draws is part of the format.

mod numpy;
mod pcg;
mod python;
mod twister;

pub(crate) use numpy::Numpy;
pub(crate) use pcg::DefaultRng;
pub(crate) use python::Python;
