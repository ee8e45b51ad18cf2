package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Size is a number of bytes, written with its unit: "8MiB", "512KiB", "10GB".
type Size int64

// The binary units, as the file spells them.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// sizeUnits are binary ones first, the larger before the smaller.
var sizeUnits = []struct {
	name  string
	bytes Size
}{
	{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

const sizeHint = `write it with a unit, such as "512KiB", "8MiB" or "10GB"`

// ParseSize reads a whole number with a unit: B, kB, MB, GB, TB (powers of 1000) or KiB,
// MiB, GiB, TiB (powers of 1024). Upper and lower case are the same.
func ParseSize(s string) (Size, error) {
	rest := strings.TrimLeft(s, "0123456789")
	number, unit := strings.TrimSuffix(s, rest), strings.TrimPrefix(rest, " ")
	if number == "" {
		return 0, fmt.Errorf("%q is not a size: %s", s, sizeHint)
	}
	if unit == "" {
		return 0, fmt.Errorf("%q lacks a unit of bytes: write %q or %q", s, number+"B", number+"MiB")
	}
	for _, u := range sizeUnits {
		if !strings.EqualFold(u.name, unit) {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n > math.MaxInt64/int64(u.bytes) {
			return 0, fmt.Errorf("%q is more than a size can be", s)
		}
		return Size(n) * u.bytes, nil
	}
	return 0, fmt.Errorf("%q is not a size: %s", s, sizeHint)
}

// String returns s in the largest unit, binary before decimal, that makes it a whole
// number; [ParseSize] reads it back as s, if s is not negative.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return "0B"
}

func (s *Size) decode(v any) error {
	switch v := v.(type) {
	case string:
		n, err := ParseSize(v)
		if err != nil {
			return err
		}
		*s = n
		return nil
	case int64:
		return fmt.Errorf("%d lacks a unit of bytes: write %q or %q", v, fmt.Sprint(v, "B"), fmt.Sprint(v, "MiB"))
	default:
		return errors.New("must be a string: " + sizeHint)
	}
}
