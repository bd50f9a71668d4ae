// The sample app. The engine is chosen by what stands in assets/bundle.
plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "dev.edgecap.sample"
    compileSdk = 36
    defaultConfig {
        applicationId = "dev.edgecap.sample"
        minSdk = 24
        targetSdk = 36
        versionCode = 1
        versionName = "1"
    }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
    kotlinOptions { jvmTarget = "1.8" }
}

dependencies {
    val camera = "1.5.0"
    implementation(project(":edgecap"))
    implementation("androidx.activity:activity-ktx:1.10.1")
    implementation("androidx.camera:camera-camera2:$camera")
    implementation("androidx.camera:camera-lifecycle:$camera")
    implementation("androidx.camera:camera-view:$camera")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.9.2")
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    if (file("src/main/assets/bundle/model.tflite").exists()) {
        implementation("com.google.ai.edge.litert:litert:2.3.0")
    } else {
        implementation("com.microsoft.onnxruntime:onnxruntime-android:1.29.0")
    }
}
