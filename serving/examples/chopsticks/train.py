"""Train a classifier of how well somebody pinches food with chopsticks of a length; write it as a SavedModel.

    train.py models/trained --table=chopsticks.csv    columns: efficiency, individual, chopstick length in mm
    train.py models/trained                           a table made up here, of the same shape: 31 x 6 rows

Classes are the thirds of the table's efficiencies: 0 low, 1 medium, 2 high. `serving_default`:
`chopstick_length` float [N,1] in mm and `individual` int64 [N,1] -> `classes_prob` float [N,3]. `classify`
(tensorflow/serving/classify): the same from serialised tf.Example. With --length-only there is no individual.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

v1 = tf.compat.v1

CLASSES = ("low", "medium", "high")
LENGTHS_MM = (180, 210, 240, 270, 300, 330)
INDIVIDUALS = 31
SEED = 1
STEPS = 600

Array = NDArray[Any]


class Table(NamedTuple):
    """Rows: individual int64 [N], length in mm float32 [N], efficiency float32 [N]."""

    individual: Array
    length: Array
    efficiency: Array

    def rows(self, chosen: Array) -> Table:
        """Those where `chosen`, bool [N], is true."""
        return Table(self.individual[chosen], self.length[chosen], self.efficiency[chosen])


def main() -> int:
    """Read or make the table, train, tell the accuracy on rows held out, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the SavedModel goes; must not exist")
    parser.add_argument("--table", type=Path, help="a CSV with a header")
    parser.add_argument("--length-only", action="store_true", help="leave the individual out")
    given = parser.parse_args()
    try:
        table = read(given.table) if given.table else made_up()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"train: {given.table}: {error}\n")
        return 2
    held_out = one_row_of_each(table.individual)
    bounds = np.quantile(table.rows(~held_out).efficiency, [1 / 3, 2 / 3])
    labels = np.digitize(table.efficiency, bounds)
    tf.get_logger().setLevel("ERROR")  # TensorFlow 2 calls what TensorFlow Serving is written for deprecated
    with tf.Graph().as_default(), v1.Session() as session:
        model = Classifier(table.rows(~held_out), with_individual=not given.length_only)
        model.train(session, table.rows(~held_out), labels[~held_out])
        right = model.probabilities(session, table.rows(held_out)).argmax(axis=1) == labels[held_out]
        model.save(session, given.folder)
    commonest = np.bincount(labels[~held_out], minlength=len(CLASSES)).argmax()
    always = np.mean(labels[held_out] == commonest)
    source = given.table or f"a table made up by this script (seed {SEED})"
    sys.stdout.write(
        f"trained on {np.sum(~held_out)} rows of {source}\n"
        f"held out: {len(right)} rows, accuracy {np.mean(right):.2f};"
        f" always {CLASSES[commonest]}, the commonest class: {always:.2f}\n"
    )
    return 0


class Classifier:
    """A softmax over the length, its square and who it is, in the default graph."""

    def __init__(self, table: Table, *, with_individual: bool) -> None:
        features = {"chopstick_length": tf.io.FixedLenFeature([1], tf.float32)}
        if with_individual:
            features["individual"] = tf.io.FixedLenFeature([1], tf.int64)
        self.example = v1.placeholder(tf.string, [None], "tf_example")
        parsed = tf.io.parse_example(self.example, features)
        # Fed directly by `serving_default`, from the example by `classify`.
        self.inputs = {name: tf.identity(parsed[name], name) for name in features}
        # The mean and the deviation stay in the graph: callers send millimetres.
        length = (self.inputs["chopstick_length"] - table.length.mean()) / table.length.std()
        known = [length, length**2]
        if with_individual:
            # Somebody unknown is nobody: a row of zeros, so the length alone decides.
            known.append(tf.one_hot(self.inputs["individual"][:, 0], int(table.individual.max()) + 1))
        everything = tf.concat(known, axis=1)
        shape = [everything.shape[1], len(CLASSES)]
        self.weights = v1.get_variable("weights", shape, initializer=v1.zeros_initializer())
        biases = v1.get_variable("biases", shape[1:], initializer=v1.zeros_initializer())
        self.logits = tf.matmul(everything, self.weights) + biases
        self.classes_prob = tf.nn.softmax(self.logits, name="classes_prob")

    def train(self, session: Any, table: Table, labels: Array) -> None:
        """All rows at once; a penalty on weights, because each individual has five rows only."""
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=self.logits)
        loss = tf.reduce_mean(losses) + 0.005 * tf.reduce_sum(self.weights**2)
        step = v1.train.AdamOptimizer(0.05).minimize(loss)
        session.run(v1.global_variables_initializer())
        for _ in range(STEPS):
            session.run(step, self._feed(table))

    def probabilities(self, session: Any, table: Table) -> Array:
        """Of each row, float [N,3]."""
        return np.asarray(session.run(self.classes_prob, self._feed(table)))

    def _feed(self, table: Table) -> dict[Any, Array]:
        columns = {"chopstick_length": table.length, "individual": table.individual}
        return {tensor: columns[name][:, None] for name, tensor in self.inputs.items()}

    def save(self, session: Any, folder: Path) -> None:
        """Both signatures over one graph."""
        info = v1.saved_model.build_tensor_info
        define = v1.saved_model.build_signature_def
        names = tf.tile(tf.constant([CLASSES]), [tf.shape(self.classes_prob)[0], 1])
        signatures = {
            "serving_default": define(
                {name: info(tensor) for name, tensor in self.inputs.items()},
                {"classes_prob": info(self.classes_prob)},
                "tensorflow/serving/predict",
            ),
            "classify": define(
                {"inputs": info(self.example)},
                {"classes": info(names), "scores": info(self.classes_prob)},
                "tensorflow/serving/classify",
            ),
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()


def read(path: Path) -> Table:
    """The table of a CSV file; columns are told by their names, in any order and spelling of case."""
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        headings = {heading.lower(): heading for heading in reader.fieldnames or ()}
        columns = []
        for part in ("individual", "length", "eff"):
            found = [heading for low, heading in headings.items() if part in low]
            if len(found) != 1:
                raise ValueError(f"needs one column whose name holds {part!r}; it has {', '.join(headings)}")
            columns.append(found[0])
        rows = [[float(row[column]) for column in columns] for row in reader]
    individual, length, efficiency = np.array(rows, np.float32).reshape(-1, 3).T
    if len(rows) < len(CLASSES) or not np.ptp(length):
        raise ValueError("too few rows, or only one length")
    return Table(individual.astype(np.int64), length, efficiency)


def made_up() -> Table:
    """No measurement: 31 individuals, each somewhat better or worse, all of them best at 240 mm."""
    random = np.random.default_rng(SEED)
    individual = np.repeat(np.arange(1, INDIVIDUALS + 1), len(LENGTHS_MM))
    length = np.tile(np.array(LENGTHS_MM, np.float32), INDIVIDUALS)
    skill = np.repeat(random.normal(25, 3.5, INDIVIDUALS), len(LENGTHS_MM))
    efficiency = skill - 4 * ((length - 240) / 90) ** 2 + random.normal(0, 1.0, len(length))
    return Table(individual, length, efficiency.astype(np.float32))


def one_row_of_each(individual: Array) -> Array:
    """A row of each individual, bool [N], drawn with a fixed seed: what the accuracy is told on."""
    random = np.random.default_rng(SEED)
    held_out = np.zeros(len(individual), np.bool_)
    for somebody in np.unique(individual):
        held_out[random.choice(np.flatnonzero(individual == somebody))] = True
    return held_out


if __name__ == "__main__":
    sys.exit(main())
