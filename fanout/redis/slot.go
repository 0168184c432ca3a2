package redis

import "strings"

// slots is how many hash slots a Cluster has.
const slots = 16384

// slotOf returns the hash slot of a channel: that of its hash tag, if it has one.
func slotOf(channel string) int {
	if _, after, found := strings.Cut(channel, "{"); found {
		if tag, _, closed := strings.Cut(after, "}"); closed && tag != "" {
			channel = tag
		}
	}
	crc := uint16(0)
	for i := range len(channel) {
		crc = crc<<8 ^ crc16[byte(crc>>8)^channel[i]]
	}
	return int(crc) % slots
}

// crc16 is the table of CRC-16/XMODEM, which Redis Cluster uses.
var crc16 = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
