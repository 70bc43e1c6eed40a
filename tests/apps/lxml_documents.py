"""lxml, hard: trees of C nodes behind proxies made anew, Python functions called from libxml2, rings."""

import gc
import io
import threading
import unittest
import weakref

from lxml import etree, html, objectify

from churn import Churn

DOUBLE = '''
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:f="zgc">
  <xsl:template match="/tree"><sum><xsl:value-of select="f:total(.//leaf)"/></sum></xsl:template>
</xsl:stylesheet>'''


def tree(depth, number=1):
    node = etree.Element("tree" if depth else "leaf", key=str(number))
    node.text = f"text {number}"
    for i in range(3 if depth else 0):
        node.append(tree(depth - 1, number * 3 + i))
    return node


def total(node):
    return sum(int(leaf.get("key")) for leaf in node.iter("leaf"))


class Documents(unittest.TestCase):
    def setUp(self):
        self.churn = Churn()

    def tearDown(self):
        self.churn.check()

    def test_round_trips(self):
        for i in range(40):
            root = tree(4, i)
            other = etree.fromstring(etree.tostring(root, pretty_print=i % 2 == 0))
            self.assertEqual(total(other), total(root))
            self.assertEqual(len(other.xpath("//leaf[@key mod 2 = 0]")),
                             sum(int(x.get("key")) % 2 == 0 for x in root.iter("leaf")))
            self.churn.step()

    def test_parts_outlive_the_whole_and_move(self):
        kept = []
        for i in range(200):
            root = tree(3, i)
            part = root[1][2]
            self.assertIs(part, root[1][2])
            if i % 2:
                part = etree.SubElement(etree.Element("other"), "moved")
                part.append(root[1][2])
            kept.append((part, total(part)))
            self.churn.step(100)
        gc.collect()
        for part, expected in kept:
            self.assertEqual(total(part), expected)
            self.assertIsNotNone(part.getparent())

    def test_functions_called_from_transformations(self):
        calls = []

        def sum_of(context, nodes):
            calls.append(len(nodes))
            self.churn.step(20)
            return float(sum(int(n.get("key")) for n in nodes))

        transform = etree.XSLT(etree.XML(DOUBLE), extensions={("zgc", "total"): sum_of})
        for i in range(40):
            root = tree(3, i)
            self.assertEqual(float(transform(root).getroot().text), total(root))
        self.assertEqual(calls, [27] * 40)

    def test_events_and_targets(self):
        class Target:
            def __init__(self):
                self.open, self.deepest, self.texts = [], 0, []

            def start(self, tag, attributes):
                self.open.append({"tag": tag, **attributes})
                self.deepest = max(self.deepest, len(self.open))

            def end(self, tag):
                assert self.open.pop()["tag"] == tag

            def data(self, text):
                self.texts.append(text)

            def close(self):
                return self

        text = etree.tostring(tree(5))
        for i in range(10):
            target = etree.fromstring(text, etree.XMLParser(target=Target()))
            self.assertEqual((target.deepest, len(target.texts)), (6, 364))
            keys = []
            for _, element in etree.iterparse(io.BytesIO(text), tag="leaf"):
                keys.append(int(element.get("key")))
                element.clear()
            self.assertEqual(len(keys), 243)
            self.churn.step()

    def test_rings_through_parsers_die(self):
        class Resolver(etree.Resolver):
            pass

        refs, live = [], []
        for i in range(1500):
            parser = etree.XMLParser()
            resolver = Resolver()
            resolver.parser, resolver.root = parser, etree.XML("<a/>", parser)
            parser.resolvers.add(resolver)
            refs.append(weakref.ref(resolver))
            if i % 5 == 0:
                live.append(resolver)
            if i % 100 == 0:
                self.churn.step()
        del parser, resolver
        gc.collect()
        self.assertEqual(sum(r() is not None for r in refs), len(live))
        self.assertEqual({r.root.tag for r in live}, {"a"})

    def test_classes_of_elements(self):
        class Leaf(etree.ElementBase):
            @property
            def doubled(self):
                return 2 * int(self.get("key"))

        lookup = etree.ElementNamespaceClassLookup()
        lookup.get_namespace(None)["leaf"] = Leaf
        parser = etree.XMLParser()
        parser.set_element_class_lookup(lookup)
        for i in range(20):
            root = etree.fromstring(etree.tostring(tree(4, i)), parser)
            self.assertEqual(sum(x.doubled for x in root.iter("leaf")), 2 * total(root))
            self.churn.step()

    def test_objects_and_pages(self):
        for i in range(40):
            root = objectify.fromstring("<a><b>%d</b><b>2</b><c><d>x</d></c></a>" % i)
            self.assertEqual(sum(root.b[:]), i + 2)
            root.c.e = [1, 2, 3]
            self.assertEqual(root.c.e[2], 3)
            page = html.fromstring("<p>one<p class=k>two<br>three" * 50)
            self.assertEqual(len(page.xpath("//p[@class='k']")), 50)
            self.churn.step(200)

    def test_threads_with_trees_of_their_own(self):
        sums, failures = [], []

        def work(number):
            try:
                for i in range(10):
                    root = etree.fromstring(etree.tostring(tree(3, number + i)))
                    sums.append(total(root) == total(tree(3, number + i)))
            except Exception as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self.churn.step(200)
        self.assertEqual((failures, sums), ([], [True] * 60))


if __name__ == "__main__":
    unittest.main(verbosity=2)
