package publickey

import (
	"crypto/rsa"
	"fmt"
	"math/big"
)

const (
	// smallFactors is below what factors are looked for (CA/Browser Forum,
	// Baseline Requirements §6.1.6).
	smallFactors = 752
	// fermatRounds is how many steps of Fermat's method are tried: keys that are
	// broken by it (CVE-2022-26320) fall within the first few.
	fermatRounds = 100
)

// primes are the odd ones below smallFactors.
var primes = func() []uint64 {
	var found []uint64
	for n := uint64(3); n < smallFactors; n += 2 {
		isPrime := true
		for _, p := range found {
			isPrime = isPrime && n%p != 0
		}
		if isPrime {
			found = append(found, n)
		}
	}
	return found
}()

// checkRSA refuses moduli and exponents by which others can sign.
func checkRSA(key *rsa.PublicKey) error {
	switch {
	case key.E < minExponent || key.E%2 == 0:
		return fmt.Errorf("%w: its public exponent is %d", ErrWeak, key.E)
	case hasSmallFactor(key.N):
		return fmt.Errorf("%w: its modulus has a small factor", ErrWeak)
	case isROCA(key.N):
		return fmt.Errorf("%w: its modulus comes from a generator whose moduli can be factored (CVE-2017-15361)", ErrWeak)
	case hasCloseFactors(key.N):
		return fmt.Errorf("%w: the factors of its modulus are too close together", ErrWeak)
	}
	return nil
}

func hasSmallFactor(modulus *big.Int) bool {
	if modulus.Bit(0) == 0 {
		return true
	}
	for _, p := range primes {
		if remainder(modulus, p) == 0 {
			return true
		}
	}
	return false
}

func remainder(n *big.Int, p uint64) uint64 {
	return new(big.Int).Mod(n, new(big.Int).SetUint64(p)).Uint64()
}

// rocaPrimes are the primes whose product every affected length of key has in
// its generator (Nemec et al., "The Return of Coppersmith's Attack", 2017, §2.1:
// the first 39 are in all), with what powers of 65537 leave modulo each.
var rocaPrimes = func() map[uint64]map[uint64]bool {
	generated := make(map[uint64]map[uint64]bool)
	for _, p := range primes {
		if p > 167 {
			break
		}
		powers := make(map[uint64]bool)
		for power := uint64(1); !powers[power]; power = power * 65537 % p {
			powers[power] = true
		}
		generated[p] = powers
	}
	return generated
}()

// isROCA reports whether a modulus has the fingerprint of keys made by
// Infineon's library (CVE-2017-15361): both its factors, and so itself, are
// powers of 65537 modulo each of the primes. By chance hardly any other modulus
// is: the powers are a small part of what there is modulo all of them together.
func isROCA(modulus *big.Int) bool {
	for p, powers := range rocaPrimes {
		if !powers[remainder(modulus, p)] {
			return false
		}
	}
	return true
}

// hasCloseFactors tries Fermat's method: for N = a²-b² the factors are a+b and
// a-b. It finds squares, too.
func hasCloseFactors(modulus *big.Int) bool {
	a := new(big.Int).Sqrt(modulus)
	one := big.NewInt(1)
	if new(big.Int).Mul(a, a).Cmp(modulus) < 0 {
		a.Add(a, one)
	}
	square, root := new(big.Int), new(big.Int)
	rest := new(big.Int).Sub(square.Mul(a, a), modulus) // a²-N
	for range fermatRounds {
		// A square is 0, 1, 4 or 9 modulo 16, which spares most roots.
		if low := rest.Bits(); len(low) == 0 || isSquareModulo16(uint(low[0])) {
			if root.Sqrt(rest); square.Mul(root, root).Cmp(rest) == 0 {
				return true
			}
		}
		rest.Add(rest, a).Add(rest, a).Add(rest, one) // (a+1)²-N
		a.Add(a, one)
	}
	return false
}

func isSquareModulo16(n uint) bool {
	switch n % 16 {
	case 0, 1, 4, 9:
		return true
	}
	return false
}
