package blockfile

import "os"

// A progress tells how far the pass is.
type progress struct {
	call  func(done, total int64)
	sizes []int64
	base  int64 // of the files that are done
	total int64
	last  int64 // told
}

func newProgress(files []*file, call func(done, total int64)) (*progress, error) {
	p := &progress{call: call, last: -progressStep}
	for _, f := range files {
		info, err := os.Stat(f.path)
		if err != nil {
			return nil, err
		}
		p.sizes = append(p.sizes, info.Size())
		p.total += info.Size()
	}
	return p, nil
}

// tell says where in the present file the reading is.
func (p *progress) tell(at int64) {
	done := min(p.base+at, p.total) // a file may grow meanwhile
	if p.call == nil || done-p.last < progressStep {
		return
	}
	p.last = done
	p.call(done, p.total)
}

// file says that a file is done.
func (p *progress) file(i int) {
	p.base += p.sizes[i]
	if p.call != nil && p.base == p.total && i == len(p.sizes)-1 && p.last != p.total {
		p.last = p.total
		p.call(p.total, p.total)
	}
}
