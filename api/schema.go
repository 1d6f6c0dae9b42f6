package api

import (
	_ "embed"
	"encoding/json"
	"reflect"
	"strings"
)

// notesJSON holds the doc comments of the types that are shown, as the source has
// them: "Message" is that of a type, "Message.text" that of a field as it is
// called in JSON. A test writes it, and checks that it is current.
//
//go:embed notes.json
var notesJSON []byte

// A schema is one of JSON Schema 2020-12, as OpenAPI 3.1 uses it.
type schema map[string]any

// schemas are made of Go types by reflection, one for each named struct.
type schemas struct {
	notes map[string]string
	all   map[string]schema
}

func newSchemas() (*schemas, error) {
	s := &schemas{all: map[string]schema{}}
	return s, json.Unmarshal(notesJSON, &s.notes)
}

// of returns the schema of a type; that of a struct is a reference.
func (s *schemas) of(t reflect.Type) schema {
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		s.define(t)
		return schema{"$ref": "#/components/schemas/" + nameOf(t)}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return schema{"type": "string", "contentEncoding": "base64"}
		}
		return schema{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return schema{"type": "object"}
		}
		return schema{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return schema{"type": "string"}
	case reflect.Int32:
		return schema{"type": "integer", "format": "int32"}
	case reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	}
	return schema{"type": "integer", "format": "int64"} // what else the types of the API have
}

func nameOf(t reflect.Type) string {
	name := t.Name()
	return strings.ToUpper(name[:1]) + name[1:]
}

func (s *schemas) define(t reflect.Type) {
	name := nameOf(t)
	if s.all[name] != nil {
		return
	}
	properties := schema{}
	defined := schema{"type": "object", "properties": properties, "additionalProperties": false}
	s.all[name] = defined
	if note := s.notes[name]; note != "" {
		defined["description"] = note
	}
	if required := s.fields(t, properties); len(required) > 0 {
		defined["required"] = required
	}
}

// fields adds the fields of a struct, and of those embedded in it, and returns
// which are always there.
func (s *schemas) fields(t reflect.Type, properties schema) (required []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			required = append(required, s.fields(f.Type, properties)...)
			continue
		}
		if name == "-" || name == "" {
			continue
		}
		one := s.of(f.Type)
		if note := s.notes[nameOf(t)+"."+name]; note != "" {
			one["description"] = note
		}
		properties[name] = one
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			required = append(required, name)
		}
	}
	return required
}
