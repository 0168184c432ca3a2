package client

import "sync/atomic"

// heardBy counts, for every publication, how many subscribers of one worker have heard it: the one that makes it all of
// them is the worker's last. Numbers are dense from zero, so the counters lie in pages that are made as numbers come:
// sixteen bytes a publication, no lock, and nothing moves once a poller may look at it.
type heardBy struct {
	pages [heardPages]atomic.Pointer[heardPage]
}

const (
	heardPageBits = 12
	heardPages    = 1 << 15 // 134 million publications: half an hour at 70,000 a second
	// MaxPublications is how many publications of one run can be counted.
	MaxPublications = heardPages << heardPageBits
)

type heardPage [1 << heardPageBits]struct {
	first atomic.Int64 // when the first subscriber heard it
	heard atomic.Int32
}

// Completed is a publication that all subscribers of a worker have heard.
type Completed struct {
	Number      uint32
	First, Last int64 // when, by the publisher's clock
	Late        int64 // of Last, how long the last one may have waited for us to read it
}

// add notes that one more subscriber heard n, of so many. all reports that it was the last, and first is then when
// the first one heard it.
func (b *heardBy) add(n uint32, of int32, now int64) (first int64, all bool) {
	at := n >> heardPageBits
	if at >= heardPages {
		return 0, false
	}
	p := b.pages[at].Load()
	if p == nil {
		p = new(heardPage)
		if !b.pages[at].CompareAndSwap(nil, p) {
			p = b.pages[at].Load()
		}
	}
	slot := &p[n&(1<<heardPageBits-1)]
	heard := slot.heard.Add(1)
	if heard == 1 {
		slot.first.Store(now)
	}
	if heard != of {
		return 0, false
	}
	if first = slot.first.Load(); first == 0 {
		first = now // the first is being noted by another thread at this moment
	}
	return first, true
}
