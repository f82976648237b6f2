use super::*;

#[test]
fn hex_round_trip() {
    let digest = Sha256::of(b"");
    assert_eq!(digest.hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(digest.hex16(), "e3b0c44298fc1c14");
    assert_eq!(digest.hex().parse(), Ok(digest));
    assert_eq!("zz".parse::<Sha256>(), Err(InvalidDigest));
    assert_eq!("é".repeat(32).parse::<Sha256>(), Err(InvalidDigest));
}

#[test]
fn every_algorithm_agrees_with_its_length() {
    for name in ["md5", "SHA", "sha1", "sha224", "sha256", "sha384", "sha512"] {
        let algorithm = Algorithm::from_name(name).expect(name);
        let mut hasher = algorithm.hasher();
        hasher.update(b"abc");
        let digest = hasher.finish();
        assert_eq!(digest.bytes().len(), algorithm.digest_len());
        assert_eq!(Algorithm::from_hex_length(digest.hex().len()), Some(algorithm));
        assert_eq!(Digest::from_hex(algorithm, &digest.hex()), Ok(digest));
    }
    assert!(Digest::from_hex(Algorithm::Md5, &"a".repeat(40)).is_err());
}
