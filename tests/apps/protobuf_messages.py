"""Protocol Buffers, hard: messages made from descriptors, parsed, kept by their parts, in rings."""

import gc
import random
import unittest
import weakref

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, struct_pb2

from churn import Churn


def tree_class():
    """message Tree { int64 key; string name; repeated Tree children; map<string, Tree> named; }"""
    file = descriptor_pb2.FileDescriptorProto(name="zgc_tree.proto", package="zgc",
                                              syntax="proto3")
    tree = file.message_type.add(name="Tree")
    field = descriptor_pb2.FieldDescriptorProto
    tree.field.add(name="key", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    tree.field.add(name="name", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    tree.field.add(name="children", number=3, type=field.TYPE_MESSAGE, type_name=".zgc.Tree",
                   label=field.LABEL_REPEATED)
    entry = tree.nested_type.add(name="NamedEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=field.TYPE_MESSAGE, type_name=".zgc.Tree",
                    label=field.LABEL_OPTIONAL)
    tree.field.add(name="named", number=4, type=field.TYPE_MESSAGE,
                   type_name=".zgc.Tree.NamedEntry", label=field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("zgc.Tree"))


Tree = tree_class()


def fill(tree, depth, number):
    tree.key, tree.name = number, f"tree {number}"
    for i in range(3 if depth else 0):
        fill(tree.children.add(), depth - 1, number * 3 + i)
    if depth:
        fill(tree.named["first"], depth - 1, number + 1)


def total(tree):
    return tree.key + sum(map(total, tree.children)) + sum(map(total, tree.named.values()))


class Messages(unittest.TestCase):
    def setUp(self):
        self.churn = Churn()

    def tearDown(self):
        self.churn.check()

    def test_round_trips(self):
        for i in range(60):
            tree = Tree()
            fill(tree, 4, i)
            other = Tree.FromString(tree.SerializeToString(deterministic=True))
            self.assertEqual(other, tree)
            self.assertEqual(json_format.Parse(json_format.MessageToJson(tree), Tree()), tree)
            self.assertEqual(total(other), total(tree))
            self.churn.step()

    def test_parts_outlive_the_whole(self):
        """A part keeps the memory of its message; wrappers are found again through weak maps."""
        kept = []
        for i in range(300):
            tree = Tree()
            fill(tree, 3, i)
            part = tree.children[1].children[2]
            self.assertIs(part, tree.children[1].children[2])
            kept.append((part, total(part)))
            self.churn.step(100)
        gc.collect()
        for part, expected in kept:
            self.assertEqual(total(part), expected)

    def test_rings_through_messages_die(self):
        class Holder:
            pass
        picks, refs, live = random.Random(3), [], []
        for i in range(2000):
            holder = Holder()
            holder.tree = Tree(key=i)
            holder.list = holder.tree.children
            holder.me = [holder]
            refs.append(weakref.ref(holder))
            if picks.random() < 0.2:
                live.append(holder)
            if i % 100 == 0:
                self.churn.step()
        del holder
        gc.collect()
        self.assertEqual(sum(r() is not None for r in refs), len(live))
        self.assertEqual([len(h.list) for h in live], [0] * len(live))

    def test_structs(self):
        for i in range(100):
            struct = struct_pb2.Struct()
            struct.update({"a": [1, {"b": [None, True, "x" * i]}], "n": i})
            copy = struct_pb2.Struct.FromString(struct.SerializeToString())
            self.assertEqual(json_format.MessageToDict(copy),
                             {"a": [1.0, {"b": [None, True, "x" * i]}], "n": float(i)})
            self.churn.step(200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
