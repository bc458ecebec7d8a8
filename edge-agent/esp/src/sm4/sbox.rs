//! The S-box as a circuit of ANDs and exclusive ORs, for many octets at once and in constant time.
//!
//! SM4's S-box is an affine map, the inverse in GF(2^8) modulo x^8+x^7+x^6+x^5+x^4+x^2+1, and the map again. The field is
//! that of AES under another name, so the inverse is the one of Boyar and Peralta ("A depth-16 circuit for the AES
//! S-box", 2011), with linear layers before and after it that translate. Both layers were searched for by machine;
//! `tests.rs` compares the result with the standard's table, all of it.

use super::planes::Word;

/// What is to be added to an input octet before [`circuit`].
pub(super) const INPUT: u8 = 0x75;
/// What is to be added to the octet that [`circuit`] gives.
pub(super) const OUTPUT: u8 = 0xd3;

/// The S-box of `x` + [`INPUT`], but for [`OUTPUT`]: plane `i` holds bit `i` of each octet.
#[inline(always)]
pub(super) fn circuit(x: &Word) -> Word {
    // Linear: the 22 products' factors.
    let a0 = x[2] ^ x[6];
    let a1 = x[1] ^ a0;
    let a2 = x[2] ^ x[7];
    let a3 = x[4] ^ a2;
    let a4 = x[0] ^ a3;
    let a5 = a1 ^ a4;
    let a6 = x[7] ^ x[3];
    let a7 = x[1] ^ a6;
    let a8 = x[5] ^ a6;
    let a9 = a3 ^ a8;
    let a10 = a4 ^ a7;
    let a11 = a2 ^ a10;
    let a12 = a1 ^ a11;
    let a13 = a7 ^ a9;
    let a14 = x[6] ^ a13;
    let a15 = a12 ^ a14;
    let a16 = a0 ^ a15;
    let a17 = x[1] ^ a14;
    let a18 = x[0] ^ a9;
    let a19 = x[0] ^ a7;
    let a20 = a3 ^ a16;
    let a21 = x[1] ^ a18;

    // The inverse in GF(2^8), by way of GF(2^4) and GF(2^2).
    let t2 = a14 & a13;
    let t3 = a15 & a9;
    let t4 = t3 ^ t2;
    let t5 = a12 & a7;
    let t6 = t5 ^ t2;
    let t7 = x[1] & a18;
    let t8 = a0 & a8;
    let t9 = t8 ^ t7;
    let t10 = a1 & a4;
    let t11 = t10 ^ t7;
    let t12 = a11 & a10;
    let t13 = a17 & a19;
    let t14 = t13 ^ t12;
    let t15 = a16 & a3;
    let t16 = t15 ^ t12;
    let t17 = t4 ^ t14;
    let t18 = t6 ^ t16;
    let t19 = t9 ^ t14;
    let t20 = t11 ^ t16;
    let t21 = t17 ^ a2;
    let t22 = t18 ^ a20;
    let t23 = t19 ^ a21;
    let t24 = t20 ^ a5;
    let t25 = t21 ^ t22;
    let t26 = t21 & t23;
    let t27 = t24 ^ t26;
    let t28 = t25 & t27;
    let t29 = t28 ^ t22;
    let t30 = t23 ^ t24;
    let t31 = t22 ^ t26;
    let t32 = t31 & t30;
    let t33 = t32 ^ t24;
    let t34 = t23 ^ t33;
    let t35 = t27 ^ t33;
    let t36 = t24 & t35;
    let t37 = t36 ^ t34;
    let t38 = t27 ^ t36;
    let t39 = t29 & t38;
    let t40 = t25 ^ t39;
    let t41 = t40 ^ t37;
    let t42 = t29 ^ t33;
    let t43 = t29 ^ t40;
    let t44 = t33 ^ t37;
    let t45 = t42 ^ t41;
    let z0 = t44 & a13;
    let z1 = t37 & a9;
    let z2 = t33 & a7;
    let z3 = t43 & a18;
    let z4 = t40 & a8;
    let z5 = t29 & a4;
    let z6 = t42 & a10;
    let z7 = t45 & a19;
    let z8 = t41 & a3;
    let z9 = t44 & a14;
    let z10 = t37 & a15;
    let z11 = t33 & a12;
    let z12 = t43 & x[1];
    let z13 = t40 & a0;
    let z14 = t29 & a1;
    let z15 = t42 & a11;
    let z16 = t45 & a17;
    let z17 = t41 & a16;

    // Linear: the output's bits.
    let b0 = z9 ^ z15;
    let b1 = z6 ^ z10;
    let b2 = z13 ^ b1;
    let b3 = z14 ^ b2;
    let b4 = z0 ^ z5;
    let b5 = z1 ^ b4;
    let b6 = z7 ^ b3;
    let b7 = z8 ^ b5;
    let b8 = z17 ^ b0;
    let b9 = z4 ^ z11;
    let b10 = b0 ^ b7;
    let b11 = b6 ^ b8;
    let b12 = z16 ^ b10;
    let b13 = z0 ^ b11;
    let b14 = z3 ^ z7;
    let b15 = z12 ^ z15;
    let b16 = b6 ^ b9;
    let b17 = b3 ^ b9;
    let b18 = b4 ^ b16;
    let b19 = z1 ^ b13;
    let b20 = b12 ^ b14;
    let b21 = z11 ^ b8;
    let b22 = z3 ^ b11;
    let b23 = z10 ^ b20;
    let b24 = z4 ^ b12;
    let b25 = b7 ^ b17;
    let b26 = z13 ^ b15;
    let b27 = z2 ^ b18;
    let b28 = z16 ^ b26;
    let b29 = b1 ^ b24;
    let b30 = z4 ^ b22;
    [b23, b25, b30, b21, b29, b19, b27, b28]
}
