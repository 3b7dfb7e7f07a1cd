//! The random numbers of the Python tool, to the bit.
//!
//! The tool draws lengths, offsets and arrival gaps from numpy's legacy generator and shuffles
//! with CPython's; both are the Mersenne Twister, seeded and read in different ways. Nothing else
//! in this crate may draw a number, and the order of draws is part of the format.

mod numpy;
mod python;
mod twister;

pub(crate) use numpy::Numpy;
pub(crate) use python::Python;
