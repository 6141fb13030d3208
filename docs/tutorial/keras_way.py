"""A tutorial in Keras: 64-32-10, five epochs of batches of 32."""

import keras

model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(10, activation="softmax"),
    ]
)
loss = "sparse_categorical_crossentropy"
optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
batch_size, epochs = 32, 5
