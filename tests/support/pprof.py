#!/usr/bin/python3
"""Reads a profile in pprof's format with Google's protobuf library, and prints it as JSON.

    pprof.py PROFILE

A reader that shares nothing with the writer: the schema is pprof's published profile.proto, as a
table. A sample's stack is a list of keys of "places": written out, thousands of deep stacks are
hundreds of megabytes. Run by the system's Python, which has python3-protobuf; exit status 77 where
it has not.
"""

import gzip
import json
import sys

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
except ImportError:
    sys.exit(77)

MESSAGES = {
    "Profile": {1: "sample_type*ValueType", 2: "sample*Sample", 3: "mapping*Mapping",
                4: "location*Location", 5: "function*Function", 6: "string_table*string",
                7: "drop_frames", 8: "keep_frames", 9: "time_nanos", 10: "duration_nanos",
                11: "period_type ValueType", 12: "period", 13: "comment*int64",
                14: "default_sample_type"},
    "ValueType": {1: "type", 2: "unit"},
    "Sample": {1: "location_id*uint64", 2: "value*int64", 3: "label*Label"},
    "Label": {1: "key", 2: "str", 3: "num", 4: "num_unit"},
    "Mapping": {1: "id uint64", 2: "memory_start uint64", 3: "memory_limit uint64",
                4: "file_offset uint64", 5: "filename", 6: "build_id", 7: "has_functions bool",
                8: "has_filenames bool", 9: "has_line_numbers bool", 10: "has_inline_frames bool"},
    "Location": {1: "id uint64", 2: "mapping_id uint64", 3: "address uint64", 4: "line*Line",
                 5: "is_folded bool"},
    "Line": {1: "function_id uint64", 2: "line"},
    "Function": {1: "id uint64", 2: "name", 3: "system_name", 4: "filename", 5: "start_line"},
}


def profile_class():
    field = descriptor_pb2.FieldDescriptorProto
    scalars = {"int64": field.TYPE_INT64, "uint64": field.TYPE_UINT64, "bool": field.TYPE_BOOL,
               "string": field.TYPE_STRING}
    file = descriptor_pb2.FileDescriptorProto(name="profile.proto", package="perftools.profiles",
                                              syntax="proto3")
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, text in fields.items():
            repeated = "*" in text
            name, _, kind = text.replace("*", " ").partition(" ")
            kind = kind or "int64"
            added = made.field.add(name=name, number=number, json_name=name)
            added.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            added.type = scalars.get(kind, field.TYPE_MESSAGE)
            if kind not in scalars:
                added.type_name = f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("perftools.profiles.Profile")
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)


def simple(profile):
    """The parts that tests look at, with strings and places put in."""
    text = profile.string_table
    functions = {f.id: f for f in profile.function}
    mappings = {m.id: m for m in profile.mapping}

    def place(location):
        function = functions[location.line[0].function_id]
        return {"function": text[function.name], "file": text[function.filename],
                "first": function.start_line, "line": location.line[0].line,
                "address": location.address, "native": location.mapping_id != 0}

    places = {str(location.id): place(location) for location in profile.location}
    assert len(places) == len(profile.location) and len(functions) == len(profile.function)
    assert text[0] == ""
    for location in profile.location:
        if location.mapping_id:
            mapping = mappings[location.mapping_id]
            assert mapping.memory_start <= location.address < mapping.memory_limit
    types = [text[t.type] for t in profile.sample_type]
    return {
        "types": {text[t.type]: text[t.unit] for t in profile.sample_type},
        "default": text[profile.default_sample_type], "period": profile.period,
        "duration": profile.duration_nanos, "time": profile.time_nanos,
        "unknown": len(profile.UnknownFields()) if hasattr(profile, "UnknownFields") else 0,
        "mappings": [{"file": text[m.filename], "build_id": text[m.build_id]}
                     for m in profile.mapping],
        "places": places,
        "samples": [{"stack": [str(i) for i in sample.location_id],
                     "values": dict(zip(types, sample.value)),
                     "labels": {text[label.key]: text[label.str] for label in sample.label}}
                    for sample in profile.sample],
    }


def main():
    with gzip.open(sys.argv[1]) as f:
        profile = profile_class()()
        profile.ParseFromString(f.read())
    json.dump(simple(profile), sys.stdout)


if __name__ == "__main__":
    main()
