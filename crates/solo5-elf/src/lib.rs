//! What a Solo5 unikernel says about itself: manifest and ABI.
