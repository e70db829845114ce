package plugin

import (
	"strings"

	"sessiongate/jwks"
)

// What the VMs of all threads share about a source, under keys that begin with its name:
//
//	/lease: holder, until, due, revision   written by compare-and-swap alone
//	/keys:  the set last published         written by the holder, before it raises revision
//	/kids:  kids that other VMs miss       written by them, emptied by the holder
//
// A VM leads as long as it holds the lease, which it renews at every tick. When it is
// gone, because its thread's VM was replaced or its configuration removed, the lease
// runs out and another one takes it. A revision says that keys has changed, so that a set
// of a megabyte is not copied at every tick to find out.
//
// A deposed leader may still write keys. That does no harm: the set is one that
// the place has given, under the time at which it did.

// lease is the right to lead. Times are Unix milliseconds.
type lease struct {
	holder   uint64 // id of a source of some VM, 0: nobody
	until    int64
	due      int64 // when the holder means to fetch next
	revision uint64
}

const (
	leaseTime = 5_000
	leaseSize = 32
	kidsSent  = 64
)

func (s *source) readLease(now int64) (l lease, cas uint32, status Status) {
	text, cas, status := s.vm.host.SharedGet(s.name + "/lease")
	switch {
	case status == StatusNotFound:
		return lease{}, 0, StatusOK
	case status != StatusOK:
		return lease{}, 0, status
	case len(text) != leaseSize:
		return lease{}, cas, StatusOK
	}
	l = lease{uint64At(text, 0), int64(uint64At(text, 8)), int64(uint64At(text, 16)), uint64At(text, 24)}
	if l.until > now+leaseTime {
		l.until = 0 // the clock was set back
	}
	return l, cas, StatusOK
}

func (s *source) writeLease(l lease, cas uint32) bool {
	v := s.vm
	v.out = appendUint64(v.out[:0], l.holder)
	v.out = appendUint64(v.out, uint64(l.until))
	v.out = appendUint64(v.out, uint64(l.due))
	v.out = appendUint64(v.out, l.revision)
	return v.host.SharedSet(s.name+"/lease", v.out, cas) == StatusOK
}

// mayLead says whether the lease is this VM's, or may be taken.
func (s *source) mayLead(l *lease, now int64) bool {
	id := s.identify()
	switch {
	case id == 0:
		return false
	case l.holder == id && s.leads:
		return true
	case l.holder != id && l.holder != 0 && l.until > now:
		return false
	}
	s.notBefore = min(l.due, now+s.cooldown)
	return true
}

// keepLease renews or takes the lease, and publishes what is new. It is false if
// another VM was faster.
func (s *source) keepLease(l lease, cas uint32, now int64) bool {
	l.holder = s.identify()
	l.until = now + leaseTime
	l.due = max(s.refresh.Next(), s.notBefore)
	publishes := s.news && s.leads && s.writeKeys()
	if publishes {
		l.revision++
	}
	if !s.writeLease(l, cas) {
		return false
	}
	s.leads = true
	if publishes {
		s.news, s.revision = false, l.revision
	}
	return true
}

// giveUp lets another VM lead at once.
func (s *source) giveUp(now int64) {
	if l, cas, status := s.readLease(now); s.leads && status == StatusOK && l.holder == s.id {
		l.until = now
		s.writeLease(l, cas)
	}
	s.leads = false
}

// identify tells apart those who may hold a lease: by a counter that all share, so that
// nothing depends on chance. 0 means that it cannot be had now.
func (s *source) identify() uint64 {
	const key = "sessiongate/sources"
	for range 8 {
		if s.id != 0 {
			break
		}
		text, cas, status := s.vm.host.SharedGet(key)
		if status != StatusOK && status != StatusNotFound {
			break
		}
		n := uint64(1)
		if len(text) == 8 {
			n = uint64At(text, 0) + 1
		}
		if s.vm.host.SharedSet(key, appendUint64(nil, n), cas) == StatusOK {
			s.id = n
		}
	}
	return s.id
}

// keys: confirmedAt, the length of the entity tag, the tag, the document.

func (s *source) writeKeys() bool {
	snapshot := s.refresh.Snapshot()
	b := make([]byte, 0, 12+len(snapshot.ETag)+len(snapshot.Document))
	b = appendUint64(b, uint64(snapshot.ConfirmedAt))
	b = appendUint32(b, uint32(len(snapshot.ETag)))
	b = append(append(b, snapshot.ETag...), snapshot.Document...)
	return s.vm.host.SharedSet(s.name+"/keys", b, 0) == StatusOK
}

func (s *source) readKeys() (jwks.Snapshot, bool) {
	text, _, status := s.vm.host.SharedGet(s.name + "/keys")
	if status != StatusOK || len(text) < 12 {
		return jwks.Snapshot{}, false
	}
	tag := int(uint32At(text, 8))
	if tag > len(text)-12 {
		return jwks.Snapshot{}, false
	}
	return jwks.Snapshot{
		ConfirmedAt: int64(uint64At(text, 0)),
		ETag:        strings.Clone(text[12 : 12+tag]),
		Document:    []byte(text[12+tag:]),
	}, true
}

// kids: the length of each, and the kid.

// passOn tells the leader of the kids that were missed here.
func (s *source) passOn() {
	if len(s.kids) == 0 {
		return
	}
	text, cas, status := s.vm.host.SharedGet(s.name + "/kids")
	if status != StatusOK && status != StatusNotFound {
		return
	}
	kids := readKids(text)
	b := []byte(text)
	for _, kid := range s.kids {
		if len(kids) < kidsSent {
			b = append(appendUint32(b, uint32(len(kid))), kid...)
			kids = append(kids, kid)
		}
	}
	if s.vm.host.SharedSet(s.name+"/kids", b, cas) == StatusOK {
		s.kids = s.kids[:0]
	}
}

// collect tells the machine of the kids that were missed, here and elsewhere.
func (s *source) collect(now int64) {
	for _, kid := range s.kids {
		s.refresh.Unknown(kid, now)
	}
	s.kids = s.kids[:0]
	text, cas, status := s.vm.host.SharedGet(s.name + "/kids")
	if status != StatusOK || text == "" {
		return
	}
	kids := readKids(text)
	if s.vm.host.SharedSet(s.name+"/kids", nil, cas) != StatusOK {
		return // somebody added one: at the next tick then
	}
	for _, kid := range kids {
		s.refresh.Unknown(kid, now)
	}
}

func readKids(text string) (kids [][]byte) {
	for len(text) >= 4 {
		n := int(uint32At(text, 0))
		if n > len(text)-4 {
			break
		}
		kids = append(kids, []byte(text[4:4+n]))
		text = text[4+n:]
	}
	return kids
}
