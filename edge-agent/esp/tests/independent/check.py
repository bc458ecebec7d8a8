"""Verifies and decrypts IPsec packets with scapy: one case a line, one answer a line.

A case: protocol, SPI, encryption, its key, integrity, its key, high half of the sequence number or "-", the packet, the
packet that must come out. Keys and packets are hexadecimal, "-" is nothing.
"""
import hashlib
import hmac
import struct
import sys
import warnings

warnings.filterwarnings("ignore")
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AH, AUTH_ALGOS, ESP, SecurityAssociation

# Of the integrity algorithms, for hmac.
HASHES = {"SHA2-256-128": "sha256", "SHA2-512-256": "sha512", "HMAC-SHA1-96": "sha1", "HMAC-MD5-96": "md5"}


def octets(digits):
    return b"" if digits == "-" else bytes.fromhex(digits)


def packet(raw):
    return IPv6(raw) if raw[0] >> 4 == 6 else IP(raw)


def check(line):
    protocol, spi, crypt, crypt_key, auth, auth_key, high, raw, expected = line.split()
    arguments = {"spi": int(spi, 16)}
    if crypt != "-":
        arguments.update(crypt_algo=crypt, crypt_key=octets(crypt_key))
    if auth != "-":
        arguments.update(auth_algo=auth, auth_key=octets(auth_key))
    if high != "-":
        arguments.update(esn_en=True, esn=int(high))
    tunnel = None
    expected = packet(octets(expected))
    outer = packet(octets(raw))
    if (outer.src, outer.dst) != (expected.src, expected.dst):
        tunnel = type(outer)(src=outer.src, dst=outer.dst)
    association = SecurityAssociation({"ESP": ESP, "AH": AH}[protocol], tunnel_header=tunnel, **arguments)
    verify = True
    if protocol == "ESP" and auth != "-" and high != "-":
        # scapy 2.5 adds the high half to the ICV in AH only.
        icv_len = AUTH_ALGOS[auth].icv_size
        datagram = bytes(outer.payload)
        covered = datagram[:-icv_len] + struct.pack("!L", int(high))
        if hmac.digest(octets(auth_key), covered, HASHES[auth])[:icv_len] != datagram[-icv_len:]:
            return "the ICV is wrong"
        verify = False
    opened = bytes(association.decrypt(outer, verify=verify))
    if opened != bytes(expected):
        return "%s came out, not %s" % (opened.hex(), bytes(expected).hex())
    return "ok"


for line in sys.stdin.read().splitlines():
    try:
        print(check(line))
    except Exception as error:  # Any complaint of scapy is an answer.
        print(repr(error))
