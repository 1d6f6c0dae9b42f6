package memory

import "maps"

// A layer is a map with what an update under way writes kept apart. A value that
// is gone is kept as nil.
type layer[K comparable, V any] struct {
	base map[K]V
	top  map[K]V // nil where nothing is being written
}

func (l *layer[K, V]) get(key K) V {
	if v, ok := l.top[key]; ok {
		return v
	}
	return l.base[key]
}

func (l *layer[K, V]) set(key K, v V) { l.top[key] = v }

// all calls yield with every key and value, in no order.
func (l *layer[K, V]) all(yield func(K, V) bool) {
	for k, v := range l.top {
		if !yield(k, v) {
			return
		}
	}
	for k, v := range l.base {
		if _, over := l.top[k]; !over && !yield(k, v) {
			return
		}
	}
}

func (l *layer[K, V]) push() { l.top = map[K]V{} }

func (l *layer[K, V]) merge() {
	maps.Copy(l.base, l.top)
	l.top = nil
}

func (l *layer[K, V]) cloneBase() {
	l.base = maps.Clone(l.base)
	if l.base == nil {
		l.base = map[K]V{}
	}
}

// add appends to the list of a key. Whoever read the list before sees no more of
// it than was there.
func add[K comparable](l *layer[K, []int64], key K, n int64) {
	l.set(key, append(l.get(key), n))
}
